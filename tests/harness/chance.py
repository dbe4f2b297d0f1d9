"""What chance may do to a count, so that no test fails by chance: bands that are left once in a thousand million times."""

import math

RARE = 1e-9
ERRORS = 6.5  # standard errors of an estimate that is a sum of many: beyond them is rarer still


def drawn(count: float, of: float, rate: float, what: str = ""):
    """Whether so many of `of` draws at this rate can be: neither so few nor so many are rarer than RARE (a binomial, exactly)."""
    said = f"{what or 'drawn'}: {count:.0f} of {of:.0f} at {rate}, some {of * rate:.0f} were to be"
    assert 0 <= count <= of > 0, said
    few, many = (_tail(round(of), rate, range(round(count) + 1)), _tail(round(of), rate, range(round(count), round(of) + 1)))
    assert min(few, many) >= RARE, said


def _tail(of: int, rate: float, counts: range) -> float:
    if rate in (0, 1):
        return float(of * rate in counts)
    whole = math.lgamma(of + 1)
    yes, no = math.log(rate), math.log1p(-rate)
    return math.fsum(math.exp(whole - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * yes + (of - k) * no) for k in counts)
