"""The tables of the model card (models/README.md), between its markers, from the figures."""

import re

from settings import ROOT


def write(figures: dict) -> None:
    path = ROOT / "models/README.md"
    text = path.read_text()
    for name, body in {"summary": _summary(figures), "sources": _sources(figures), "seeds": _seeds(figures)}.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
        if count != 1:
            raise SystemExit(f"models/README.md lacks the markers of {name}")
    path.write_text(text)


def _summary(figures: dict) -> str:
    rows = ["| | BlazeFace's boxes (set `own`) | YuNet's boxes |", "|---|---|---|"]
    both = [figures["heldOut"][detector] for detector in ("blazeface", "yunet")]

    def line(title: str, cell) -> None:
        rows.append(f"| {title} | {' | '.join(cell(side) for side in both)} |")

    for frame, title in (("whole", "Whole frames"), ("crop", "Tight crops")):
        if "auc" not in both[0][frame]:
            continue
        line(
            f"{title}, {both[0][frame]['sources']} sources: mean AUC",
            lambda s, f=frame: _mean(s[f]["auc"], s[f]["aucInterval"]),
        )
        line(
            f"{title}: mean APCER at 0.15",
            lambda s, f=frame: _percent(s[f]["apcer"]["mean"], s[f]["apcer"]["interval"]),
        )
        line(
            f"{title}: mean BPCER at 0.15",
            lambda s, f=frame: _percent(s[f]["bpcer"]["mean"], s[f]["bpcer"]["interval"]),
        )
        for attack in both[0][frame]["attacks"]:
            line(f"{title}: APCER, all pictures, {attack}", lambda s, f=frame, a=attack: _rate(s[f]["attacks"].get(a)))
        line(f"{title}: BPCER, all live pictures", lambda s, f=frame: _rate(s[f]["livePictures"]))
    return "\n".join(rows)


def _sources(figures: dict) -> str:
    rows = ["| source | frames | live | spoof | AUC | BPCER | APCER |", "|---|---|---|---|---|---|---|"]
    for row in figures["heldOut"]["blazeface"]["sources"]:
        who = f"{row['source']} | {row['frame']} | {row['live']} | {row['spoof']}"
        attacks = "; ".join(f"{attack} {_rate(rate)}" for attack, rate in row["apcer"].items()) or "–"
        score = _mean(row["auc"], row["aucInterval"]) if "auc" in row else "–"
        rows.append(f"| {who} | {score} | {_rate(row['bpcer'])} | {attacks} |")
    return "\n".join(rows)


def _seeds(figures: dict) -> str:
    if not figures["seeds"]:
        return "Not trained for these weights: `npm run train -- --seeds` does."
    rows = [
        "| seed | AUC, val whole frames pooled | mean AUC over sources | mean APCER | mean BPCER |",
        "|---|---|---|---|---|",
    ]
    for seed, result in [*figures["seeds"].items(), ("both", figures["seedsTogether"])]:
        if result:
            whole = result["whole"]
            rates = " | ".join(_percent(whole[name]["mean"], whole[name]["interval"]) for name in ("apcer", "bpcer"))
            rows.append(f"| {seed} | {result['auc']:.4f} | {_mean(whole['auc'], whole['aucInterval'])} | {rates} |")
    return "\n".join(rows)


def _mean(value: float, interval: list[float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _percent(value: float, interval: list[float]) -> str:
    return f"{value:.1%} ({interval[0]:.1%}–{interval[1]:.1%})".replace("%", " %")


def _rate(rate: dict | None) -> str:
    if not rate or not rate["of"]:
        return "–"
    return f"{_percent(rate['rate'], rate['interval'])}, {rate['wrong']} of {rate['of']}"
