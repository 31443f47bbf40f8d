"""What grey levels images have that are imported, and what a user should know of them."""

from dataclasses import dataclass, field
from pathlib import Path

from lib.data import decoding, depth
from lib.errors import UserError


@dataclass
class Levels:
    """What the grey levels of one part's images were like, gathered while they are copied."""

    is_deep: bool = False  # whether there is an image of more than 8 bits
    brightest: int = 0  # of 255, as imported, of those of more than 8 bits
    deepest: tuple[int, str] = (0, "")  # highest value as stored, and its file
    of_8_bits: list[str] = field(default_factory=list)  # files
    several: list[str] = field(default_factory=list)  # files of several pictures
    scaled: list[str] = field(default_factory=list)  # files of another size
    turned: list[str] = field(default_factory=list)  # files with a camera's rotation mark

    def add(self, path: Path, reading: depth.Reading) -> None:
        """Look at one image file, and at what was read of it."""
        data = decoding.read_bytes(path)
        if depth.has_8_bits(data, path):
            self.of_8_bits.append(path.name)
        else:
            self.brightest = max(self.brightest, int(reading.image.max()))
            self.is_deep = True
        self.deepest = max(self.deepest, (reading.highest, path.name))
        if decoding.picture_count(data) > 1:
            self.several.append(path.name)
        if depth.rotation_mark(data) != 1:
            self.turned.append(path.name)

    def remarks(self, source: Path, white: float) -> list[str]:
        """What a user should know of the images in `source`; UserError where next to no grey levels would be
        left."""
        highest, name = self.deepest
        if white and self.is_deep and self.brightest < 16:
            raise UserError(
                f"--white {white:g}: no image in {source} has more than {self.brightest + 1} of 256 grey levels then. Name the "
                "value that is white in them, such as 4095 for 12 bits."
            )
        if 255 < highest < 2**14 and not white:
            raise UserError(
                f"{source} has images of 16 bits with no value above {highest} ({name}), of which {highest // 256 + 1} "
                f"grey levels would be left. Say which value is white: --white {2 ** highest.bit_length() - 1}, for all images "
                "alike, or --white 65535 to import them as they are."
            )
        remarks = []
        if white and self.of_8_bits:
            remarks.append(
                f"{len(self.of_8_bits)} images in {source} have 8 bits, such as {self.of_8_bits[0]}, and are taken as they are: "
                f"--white is for those of more."
            )
        if highest > 255 and not white:
            remarks.append(
                f"{source} has images of 16 bits, up to {highest} of 65535: the upper 8 are used (--white says which is white)."
            )
        if self.several:
            remarks.append(
                f"{len(self.several)} images in {source} hold several pictures, such as {self.several[0]}: the first alone is used."
            )
        if self.scaled:
            remarks.append(f"{len(self.scaled)} images in {source} were scaled, such as {self.scaled[0]}.")
        if self.turned:
            remarks.append(
                f"{len(self.turned)} images in {source} have a rotation mark (EXIF), such as {self.turned[0]}, and are taken as the "
                "pixels lie in the file. Labels drawn on the turned image do not fit: turn the files, and label them again."
            )
        return remarks
