"""iNaturalist's official JSON files: images, annotations and categories. Free of torch."""

from __future__ import annotations

from pathlib import Path

from lt_bench.core.documents import parse_json
from lt_bench.core.errors import UserError, unreadable
from lt_bench.data.images.image_list import ImageList, check_labels, check_rows, image_list


def read_inat(path: Path, root: Path, num_classes: int) -> tuple[ImageList, tuple[str, ...]]:
    """Images and class names of one JSON file; the label is the category's id, rows follow the file's list of annotations.

    Raises:
        UserError: not JSON, a field missing, an annotation of an unknown image, labels outside 0..K-1, an image twice.
    """
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        files = {image["id"]: image["file_name"] for image in document["images"]}
        annotated = [(files[one["image_id"]], _whole(one["category_id"])) for one in document["annotations"]]
        names = {_whole(category["id"]): str(category["name"]) for category in document.get("categories", [])}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except PermissionError as error:
        raise unreadable(path, error) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable JSON ({error})") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not iNaturalist's layout of images and annotations ({error} missing or garbled)") from None
    images = image_list(root, [name for name, _ in annotated], [label for _, label in annotated])
    check_labels(images.labels, num_classes, str(path))
    check_rows(images.paths, images.labels, str(path))
    unique = len(set(names.values())) == num_classes
    return images, tuple(names.get(k, str(k)) if unique else str(k) for k in range(num_classes))


def _whole(value: object) -> int:
    """A class id as it is written, a whole number of JSON: neither "01" nor 1.7 is one."""
    if type(value) is not int:
        raise ValueError(f"category id {value!r} is no whole number")
    return value
