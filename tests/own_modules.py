"""Networks as users bring them: good ones, and such as are refused."""

import torch
from torch import Tensor, nn


class Dense(nn.Module):
    """A small perceptron on flat patches of 16 numbers, in noise units."""

    def __init__(self, dim: int = 16, hidden: int = 64) -> None:
        super().__init__()
        self.dim, self.hidden = dim, hidden
        widths = (nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, dim))
        self.layers = nn.Sequential(*widths)

    def settings(self) -> dict:
        return {"dim": self.dim, "hidden": self.hidden}

    def score(self, x: Tensor, sigma: float) -> Tensor:
        u = (x - x.mean(1, keepdim=True)) / sigma
        return self.layers(u) / sigma


class Convolutional(nn.Module):
    """Three layers on images, in noise units."""

    def __init__(self, channels: int = 1, width: int = 16, activation: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        sides = {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"}
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, **sides),
            activation(),
            nn.Conv2d(width, width, **sides),
            activation(),
            nn.Conv2d(width, channels, **sides),
        )

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
        return self.layers((x - x.mean((1, 2, 3), keepdim=True)) / sigma) / sigma


class Kinked(Convolutional):
    def __init__(self) -> None:
        super().__init__(activation=nn.ReLU)


class Energetic(nn.Module):
    """An energy of rows of any two numbers that is not told of sigma."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 1))

    def energy(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0] + 0.5 * x.square().sum(1)


class Told(Energetic):
    def energy(self, x: Tensor, sigma: float) -> Tensor:  # type: ignore[override]
        return super().energy(x / sigma)


class Wrong(Convolutional):
    """Of one fault or another."""

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return self.spoilt(x, super().score(x, sigma))

    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        return psi


class Summed(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        return psi.flatten(1).sum(1)


class Undefined(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        return psi * float("nan")


class Meddling(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        x.mul_(2)
        return psi


class Random(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        return psi + torch.randn_like(psi)


class Mixing(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        return psi - psi.mean(0)


class Fixed(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        return psi.detach()


class Failing(Wrong):
    def spoilt(self, x: Tensor, psi: Tensor) -> Tensor:
        raise RuntimeError("no such\nlayer")


class OfGpu(Convolutional):
    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return super().score(x.to("cuda:77"), sigma)


class Normed(Convolutional):
    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(1, nn.BatchNorm2d(16))


class Empty(nn.Module):
    def score(self, x: Tensor, sigma: float) -> Tensor:
        return -x


class Idle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Needy(Convolutional):
    def __init__(self, width: int) -> None:
        super().__init__(1, width)


class Rows(nn.Module):
    """A perceptron on rows of two numbers, whose code torch.func can transform."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, 16), nn.Linear(16, 2)

    def hidden(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.inner(x))

    def score(self, x: Tensor, sigma: float) -> Tensor:
        return self.outer(self.hidden(x / sigma)) / sigma


class Lazy(nn.Module):
    """Layers that get their shapes, and draw their weights, when they are first called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.LazyLinear(16), nn.LazyLinear(2)

    def score(self, x: Tensor, sigma: float) -> Tensor:
        return self.outer(nn.functional.silu(self.inner(x / sigma))) / sigma


class Double(Rows):
    """Weights of float64."""

    def __init__(self) -> None:
        super().__init__()
        self.double()

    def score(self, x: Tensor, sigma: float) -> Tensor:
        return super().score(x.double(), sigma).to(x.dtype)


class Branching(Rows):
    """Code that looks at its values."""

    def hidden(self, x: Tensor) -> Tensor:
        return super().hidden(x) if x.abs().max() > 0 else super().hidden(x.abs())


class Squared(torch.autograd.Function):
    """x^2, with a backward pass alone."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, slope: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * slope


class Backward(Rows):
    def hidden(self, x: Tensor) -> Tensor:
        return Squared.apply(super().hidden(x))


class Differentiating(Rows):
    """The gradient of an energy, taken as one does by hand."""

    def score(self, x: Tensor, sigma: float) -> Tensor:
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_()
            energy = self.outer(self.hidden(y / sigma)).sum()
            return -torch.autograd.grad(energy, y, create_graph=True)[0]


class BackwardEnergy(Rows):
    score = None  # type: ignore[assignment]

    def energy(self, x: Tensor) -> Tensor:
        return Squared.apply(self.outer(self.hidden(x))).sum(1)


class Detached(Rows):
    def hidden(self, x: Tensor) -> Tensor:
        return super().hidden(x.detach())


class DetachedGradient(Differentiating):
    def score(self, x: Tensor, sigma: float) -> Tensor:
        return super().score(x.detach(), sigma)


number = 3
