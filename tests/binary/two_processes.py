"""One of two processes that train together, and the same training alone; run as a program it is the second."""

import copy
import sys

import torch
import torch.distributed as dist
from torch import nn

from isocline.binary import BinaryConv2d, PowerSchedule


def train(rank, port):
    """Parameters trained by both processes on halves of each batch, those trained alone on all of it, and the power."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        f32 = {"dtype": torch.float32}
        model = nn.Sequential(
            BinaryConv2d(2, 4, 3, **f32), nn.BatchNorm2d(4, **f32), BinaryConv2d(4, 3, 3, **f32)
        )
        model.eval()  # the batch norm's statistics are each process's own
        alone, batches = copy.deepcopy(model), torch.randn(3, 4, 2, 7, 7, **f32)
        parallel = nn.parallel.DistributedDataParallel(model)
        for one, part in ((parallel, slice(2 * rank, 2 * rank + 2)), (alone, slice(None))):
            schedule, optimizer = PowerSchedule(one, total=3), torch.optim.SGD(one.parameters(), 0.1)
            for x in batches:
                optimizer.zero_grad()
                one(x[part]).square().mean().backward()
                optimizer.step()
                schedule.step()
        return list(model.parameters()), list(alone.parameters()), float(model[0].input_estimator.o)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    train(int(sys.argv[1]), sys.argv[2])
