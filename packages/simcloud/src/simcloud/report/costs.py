"""What a run would cost: CPU-seconds priced as a named instance. Always an estimate."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.accounting.prices import Price, prices
from simcloud.errors import NotFound

DEFAULT_INSTANCE = "c7i.xlarge"


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What making 1,000 pictures would cost on an instance that is kept busy."""

    price: Price
    cpu_s_per_image: float
    usd_per_1k_images: float

    def as_json(self) -> dict[str, object]:
        """Plain data, marked as the estimate that it is."""
        return {
            "estimated": True,
            "instance": self.price.instance,
            "usd_per_hour": self.price.usd_per_hour,
            "vcpus": self.price.vcpus,
            "price_read": self.price.read,
            "price_source": self.price.source,
            "cpu_s_per_image": self.cpu_s_per_image,
            "usd_per_1k_images": self.usd_per_1k_images,
        }


def estimate(*, cpu_s: float, images: int, instance: str = DEFAULT_INSTANCE) -> CostEstimate | None:
    """The estimate, or None when nothing was made.

    A CPU-second is taken as one vCPU for a second: dollars = CPU-seconds / (vCPUs * 3600) * price.

    Raises:
        NotFound: the instance is not in the table.
    """
    price = prices().get(instance)
    if price is None:
        raise NotFound(f"no price for {instance!r}; there are: {', '.join(sorted(prices()))}")
    if images <= 0 or cpu_s <= 0:
        return None
    per_image = cpu_s / images
    return CostEstimate(
        price=price,
        cpu_s_per_image=per_image,
        usd_per_1k_images=1000 * per_image / (price.vcpus * 3600) * price.usd_per_hour,
    )
