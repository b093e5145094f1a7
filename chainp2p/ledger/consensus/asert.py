"""aserti3-2d: how hard a block must be, from how late its parent is (the specification of that name, on 256 bits).

``target = anchor * 2^(late / halfLife)``: a chain that is one half-life behind its schedule gets twice the target, one
that is ahead half of it. Every target follows from the anchor and one timestamp alone, so errors never add up and
nothing oscillates. Reasons for the form:

- integers only, so that all machines agree: the exponent is a fixed-point number of 16 fractional bits, and 2^x for
  0 <= x < 1 is the cubic of the specification, less than 0.013 % off;
- the full 256 bits of the target count; the specification's own chains round it to 24 ("compact bits");
- the exponent is rounded down, so that no sign needs a case of its own (the specification's code rounds to zero).
"""

__all__ = ["MAX_TARGET", "difficulty_of", "exponent", "scaled", "target_of"]

#: Every hash meets it.
MAX_TARGET = 2**256 - 1

#: Fractional bits of the exponent and of the cubic.
_RADIX_BITS = 16
_RADIX = 1 << _RADIX_BITS
#: Coefficients of 2^x - 1 (specification), over 2^48 for x in units of 2^-16.
_LINEAR, _SQUARE, _CUBIC, _SCALE_BITS = 195_766_423_245_049, 971_821_376, 5_127, 48


def exponent(late_ms: int, half_life: int) -> int:
    """How many half-lives (seconds) *late_ms* is, in units of 2^-16, rounded down."""
    return late_ms * _RADIX // (half_life * 1000)


def scaled(anchor: int, exponent: int) -> int:
    """*anchor* times 2 to the *exponent* (units of 2^-16), within 1 and :data:`MAX_TARGET`."""
    shift, x = exponent >> _RADIX_BITS, exponent & (_RADIX - 1)
    if shift > 256:
        return MAX_TARGET  # whatever the anchor, and without numbers of any size
    if shift < -256:
        return 1
    cubic = _LINEAR * x + _SQUARE * x**2 + _CUBIC * x**3 + (1 << (_SCALE_BITS - 1))
    target = anchor * (_RADIX + (cubic >> _SCALE_BITS))
    shift -= _RADIX_BITS
    target = target << shift if shift > 0 else target >> -shift
    return min(max(target, 1), MAX_TARGET)


def target_of(difficulty: int) -> int:
    """The highest number that the hash of a block of this *difficulty* may be."""
    return MAX_TARGET // difficulty


def difficulty_of(target: int) -> int:
    """How many hashes it takes on average to meet *target*."""
    return MAX_TARGET // target
