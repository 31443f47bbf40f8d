"""Names to choose from that are too many for the comment of a parameter, which refers to them as `choices.CLASSIFIERS`.

Nothing is imported here, so that a command can look a name up before Keras is loaded.
"""

LITE = ("efficientnetlite0",)  # their weights come with a pinned package, see lib/pretrained.py
CLASSIFIERS = {  # keras.applications that train on any Keras backend, with the scale of their input, see models.SCALES
    "InceptionResNetV2": "tf", "InceptionV3": "tf", "Xception": "tf", "MobileNet": "tf", "MobileNetV2": "tf",
    "ResNet50V2": "tf", "ResNet101V2": "tf", "ResNet50": "caffe", "ResNet101": "caffe", "VGG16": "caffe",
    "EfficientNetB0": "raw", "EfficientNetB3": "raw", "EfficientNetV2B0": "raw", "EfficientNetV2S": "raw", "ConvNeXtTiny": "raw",
    **dict.fromkeys(LITE, "lite"),
}  # fmt: skip
ENCODERS = {  # segmentation-models' backbones that work under Keras 3, with their scale
    "resnet18": "raw", "resnet34": "raw", "resnet50": "raw", "resnet101": "raw", "vgg16": "caffe",
    "mobilenet": "tf", "mobilenetv2": "tf", "inceptionv3": "tf", "inceptionresnetv2": "tf",
    "efficientnetb0": "torch", "efficientnetb1": "torch", "efficientnetb3": "torch",
    **dict.fromkeys(LITE, "lite"),
}  # fmt: skip
FLIPS = ("none", "vertical", "horizontal", "both")
AUGMENTATION = {"flips": "choices.FLIPS", "brightness": "0..1", "contrast": "0..1", "shift": "0..1", "blackout": "0..1"}
