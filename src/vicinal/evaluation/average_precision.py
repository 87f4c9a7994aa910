"""COCO's average precision of boxes and of masks, the mean over IoUs of 0.5, 0.55, …, 0.95.

Paper:    Lin et al., Microsoft COCO, ECCV 2014, arXiv 1405.0312; GradAug Table 7 (Det and Seg mAP)
Code:     pycocotools' COCOeval, which is called; pytorch/vision references/detection/coco_eval.py
Differs:  nothing known
Cost:     one forward per photo; BatchNorm is not updated
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from vicinal.contracts import Found
from vicinal.data.masks import check_tools, encoded, precision
from vicinal.data.photos import Photo, PhotoSplit
from vicinal.evaluation.batches import rank_rows
from vicinal.evaluation.evaluation import Numbers
from vicinal.machine import ranks
from vicinal.models.arguments import at_least_one
from vicinal.surgery.modes import evaluating

Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class AveragePrecision:
    """In percent; every photo counts once, and the network is left as it was.

    Boxes and masks are compared at the photo's own size. The caller chooses the network's precision
    (autocast around the call).
    """

    batch_size: int = 1  # larger ones pad photos, which changes features at their edges

    def __post_init__(self) -> None:
        at_least_one(batch_size=self.batch_size)

    def __call__(self, model: nn.Module, split: PhotoSplit) -> Numbers:
        """Each rank measures its share; all ranks must call this, and get the same numbers."""
        check_tools()
        boxes, masks = Entries(), Entries()
        with evaluating(model), torch.no_grad():
            rows = rank_rows(torch.arange(len(split)), self.batch_size)
            for own, (x, y, _) in zip(rows, split.batches(rows), strict=True):
                for row, size, found in zip(own.tolist(), y.sizes, model(x, y), strict=True):
                    _add(split, split.photos[row], size, found, (boxes, masks))
        of_boxes, of_masks = (_gathered(each) for each in (boxes, masks))

        def measured() -> Numbers:
            return {
                "average_precision": 100 * precision(split.truth, of_boxes, "bbox"),
                "mask_average_precision": 100 * precision(split.truth, of_masks, "segm"),
            }

        return ranks.broadcast_object(measured)


def _gathered(own: Entries) -> Entries:
    """The entries of all ranks, in the order of photos, as a single process has them."""
    every = [entry for entries in ranks.all_gather_object(own) for entry in entries]
    return sorted(every, key=lambda entry: entry["image_id"])


def _add(
    split: PhotoSplit,
    photo: Photo,
    size: tuple[int, int],
    found: Found,
    entries: tuple[Entries, Entries],
) -> None:
    """Add what was found in a photo of this size to the entries of boxes and of masks."""
    height, width = photo.size
    scale = torch.tensor([width / size[1], height / size[0]]).repeat(2)
    boxes = found.boxes.float() * scale.to(found.boxes.device)
    masks = encoded(drawn(found, boxes, photo.size).cpu().numpy())
    corners = boxes.double().cpu()
    sides = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()
    labels, scores = found.labels.tolist(), found.scores.double().tolist()
    for label, score, box, mask in zip(labels, scores, sides, masks, strict=True):
        entry = {
            "image_id": photo.id,
            "category_id": split.categories[label],
            "score": score,
        }
        entries[0].append(entry | {"bbox": box})
        entries[1].append(entry | {"segmentation": mask})


def drawn(found: Found, boxes: Tensor, size: tuple[int, int]) -> UInt8[Tensor, "m h w"]:
    """The masks, each in its box of a photo of this size."""
    if not len(boxes):
        return torch.zeros(0, *size, dtype=torch.uint8)
    pasted = paste_masks_in_image(found.masks.float(), boxes, size)
    return (pasted[:, 0] > 0.5).to(torch.uint8)
