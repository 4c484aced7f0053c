"""How long does the default model take for an image, and what does a stride buy?

python benchmarks/image_speed.py
"""

import torch
from timing import in_turn, median

from smdae.memory import keep_freed_memory
from smdae.models import EnergyModel, Patchwise

if __name__ == "__main__":
    keep_freed_memory()
    torch.manual_seed(0)
    patch = EnergyModel(144, 512, 1.0, level=25 / 255, free_means=1)
    image = torch.rand(1, 1, 512, 512)
    with torch.no_grad():
        times = in_turn(
            {str(stride): lambda s=stride: Patchwise(patch, 1, 12, s).score(image) for stride in (1, 2, 3, 4, 6)}, 7
        )
    print("512 x 512, energy with 512 units on 12 x 12 patches")
    for stride, seconds in times.items():
        print(f"stride {stride}: {median(seconds):6.2f} s")
