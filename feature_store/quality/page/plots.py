"""Small bar charts as SVG that take the page's colours, light or dark; everything that a shop says is escaped."""

from collections.abc import Sequence

from markupsafe import Markup

WIDE, TALL, ROW, LABEL = 820, 150, 22, 250
LONGEST = 36


def short(text: str, *, longest: int = LONGEST) -> str:
    """A label on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def picture(parts: Sequence[Markup], *, height: int, told: str, wide: int = WIDE) -> Markup:
    """Parts as one SVG element; `told` is read aloud to those who don't see it."""
    start = Markup('<svg role="img" viewBox="0 0 {} {}" font-size="11" aria-label="{}">').format(wide, height, told)
    return start + Markup("").join(parts) + Markup("</svg>")


def rectangle(x: float, y: float, width: float, height: float, *, colour: str, told: str) -> Markup:
    """A bar with what it says when pointed at."""
    return Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="var(--{})"><title>{}</title></rect>'
    ).format(x, y, max(0.0, width), max(0.0, height), colour, told)


def words(x: float, y: float, text: str, *, colour: str = "muted", anchor: str = "start") -> Markup:
    """A label."""
    return Markup('<text x="{:.1f}" y="{:.1f}" fill="var(--{})" text-anchor="{}">{}</text>').format(
        x, y, colour, anchor, text
    )


def line(x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> Markup:
    """A line for an axis, dashed for a limit."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="var(--{})"{}/>').format(
        x1, y1, x2, y2, "muted" if dashed else "rule", Markup(' stroke-dasharray="4 3"') if dashed else ""
    )


def rows_plot(rows: Sequence[tuple[str, float, bool]], *, told: str, limit: float | None = None) -> Markup:
    """Bars from left to right, one under the other.

    Args:
        rows: label, value from 0, and whether it stands out.
        told: what the picture is.
        limit: where a dashed line stands; none where None.
    """
    top = max([value for _, value, _ in rows] + ([limit] if limit else []) + [1e-12]) * 1.02
    scale = (WIDE - LABEL - 70) / top
    parts = []
    for place, (label, value, loud) in enumerate(rows):
        y = place * ROW
        parts += [
            words(LABEL - 8, y + 14, short(label), colour="ink", anchor="end"),
            rectangle(
                LABEL, y + 3, value * scale, ROW - 7, colour="loss" if loud else "accent", told=f"{label}: {value:,.6g}"
            ),
            words(LABEL + value * scale + 6, y + 14, f"{value:,.4g}"),
        ]
    height = len(rows) * ROW + 4
    if limit:
        parts.append(line(LABEL + limit * scale, 0, LABEL + limit * scale, height, dashed=True))
    return picture(parts, height=height, told=told)


def time_plot(counts: Sequence[tuple[str, int]], *, told: str, since: str | None = None) -> Markup:
    """Bars over time.

    Args:
        counts: a day or week, and how many.
        told: what the picture is.
        since: bars from it on are in colour, being new since the last snapshot; all where None.
    """
    most, width = max((count for _, count in counts), default=1) or 1, WIDE / max(1, len(counts))
    parts = [words(0, 10, f"{most:,} at most")]
    for place, (label, count) in enumerate(counts):
        height = count / most * TALL
        new = since is None or label >= since
        parts.append(
            rectangle(
                *(place * width, 16 + TALL - height, max(0.5, width - (1 if width > 3 else 0)), height),
                colour="accent" if new else "muted",
                told=f"{label}: {count:,}",
            )
        )
    floor = 16 + TALL
    parts.append(line(0, floor, WIDE, floor))
    if counts:
        parts += [words(0, floor + 14, counts[0][0]), words(WIDE, floor + 14, counts[-1][0], anchor="end")]
    return picture(parts, height=floor + 18, told=told)


def pair_plot(labels: Sequence[str], before: Sequence[float], now: Sequence[float], *, told: str) -> Markup:
    """Shares by bin before and now, side by side.

    Args:
        labels: of the bins.
        before: shares before, 0 to 1.
        now: shares now, 0 to 1.
        told: what the picture is.
    """
    wide, tall, foot, margin = 400, 110, 74, 36
    most, width = max([*before, *now, 1e-12]), (wide - margin) / max(1, len(labels))
    parts = [words(0, 10, f"{most:.0%} at most")]
    for place, (label, past, present) in enumerate(zip(labels, before, now, strict=True)):
        x, bar = margin + place * width, width * 0.42
        for offset, share, colour, when in ((0.0, past, "muted", "before"), (bar, present, "accent", "now")):
            height = share / most * tall
            parts.append(
                rectangle(
                    x + offset,
                    16 + tall - height,
                    bar - 0.5,
                    height,
                    colour=colour,
                    told=f"{label}, {when}: {share:.1%}",
                )
            )
        parts.append(
            Markup(
                '<text transform="translate({:.1f} {}) rotate(-40)" fill="var(--muted)" text-anchor="end">{}</text>'
            ).format(x + width * 0.5, 16 + tall + 12, short(label, longest=16))
        )
    parts.append(line(margin, 16 + tall, wide, 16 + tall))
    return picture(parts, height=16 + tall + foot, told=told, wide=wide)
