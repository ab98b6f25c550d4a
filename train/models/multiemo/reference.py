"""MultiEMO and its losses as equations: one dialogue, one turn, one head, one pair at a time.

Read this to know the model. Each function is its equation and nothing else, and slow for it; no stage imports it. The
fast code beside it, whose gradients are written by hand, is held to these values and to their gradients
(tests/train/test_multiemo.py).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from train.models.contract import MODALITIES, Batch
from train.models.multiemo import Params

# --- DialogueRNN (equation 1) ---------------------------------------------------------------------------------


def gru(x: Tensor, h: Tensor, w: dict[str, Tensor]) -> Tensor:
    """One GRU cell: x [n], h [d] -> [d]."""
    r = torch.sigmoid(w["xr"].T @ x + w["bxr"] + w["hr"].T @ h + w["bhr"])
    z = torch.sigmoid(w["xz"].T @ x + w["bxz"] + w["hz"].T @ h + w["bhz"])
    n = torch.tanh(w["xn"].T @ x + w["bxn"] + r * (w["hn"].T @ h + w["bhn"]))
    return (1 - z) * n + z * h


def chain_weights(rnn: dict[str, Tensor], k: int) -> dict[str, Any]:
    """Chain k's three cells and its attention, gate by gate."""
    w = {name: x[k] for name, x in rnn.items()}
    d = len(w["score"])

    def cell(
        inputs: list[Tensor], state: Tensor, input_bias: Tensor, hidden_bias: Tensor
    ) -> dict[str, Tensor]:
        x = torch.cat(inputs)  # [inputs' size, (r, z, n)]
        xr, xz, xn = x.split(d, 1)
        hn, hr, hz = state.split(d, 1)
        biases = dict(zip(("bxr", "bxz", "bxn"), input_bias, strict=True))
        biases |= dict(zip(("bhn", "bhr", "bhz"), hidden_bias, strict=True))
        return {"xr": xr, "xz": xz, "xn": xn, "hn": hn, "hr": hr, "hz": hz, **biases}

    of_input, of_party = w["of_input"], w["of_party"]
    return {
        "g": cell(
            [of_input[:, : 3 * d], of_party[:, : 3 * d]],
            w["of_global"],
            w["input_bias"][0],
            w["hidden_bias"][0],
        ),
        "p": cell(
            [of_input[:, 3 * d :], w["of_context"]],
            of_party[:, 3 * d :],
            w["input_bias"][1],
            w["hidden_bias"][1],
        ),
        "e": cell(
            [w["emotion_of_party"]],
            w["emotion_of_emotion"],
            w["emotion_input_bias"][0],
            w["emotion_hidden_bias"][0],
        ),
        "score": w["score"],
    }


def dialogue_rnn(inputs: list[Tensor], speakers: list[int], w: dict[str, Any], idle: int = 0) -> list[Tensor]:
    """One dialogue, one direction: inputs of [d] -> emotion states of [d], and `idle` more after the last turn."""
    zeros = torch.zeros_like(w["score"])
    parties: dict[int, Tensor] = {}
    past: list[Tensor] = []
    emotions: list[Tensor] = []
    for u, speaker in zip(inputs, speakers, strict=True):
        q = parties.get(speaker, zeros)
        g = gru(torch.cat([u, q]), past[-1] if past else zeros, w["g"])
        context = zeros
        if past:
            scores = torch.stack([w["score"] @ state for state in past])
            shares = torch.exp(scores - scores.max()) / torch.exp(scores - scores.max()).sum()
            context = sum(share * state for share, state in zip(shares, past, strict=True))
        parties[speaker] = gru(torch.cat([u, context]), q, w["p"])
        past.append(g)
        emotions.append(gru(parties[speaker], emotions[-1] if emotions else zeros, w["e"]))
    for _ in range(idle):
        emotions.append(gru(parties.get(0, zeros), emotions[-1], w["e"]))
    return emotions


# --- MultiAttn (equations 2–12) -------------------------------------------------------------------------------


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def layer_norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    spread = torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return (x - x.mean()) / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def attend(query: Tensor, keys: list[Tensor], values: list[Tensor], heads: int) -> Tensor:
    """One query [d], its dialogue's keys and values of [d] -> [d]."""
    answers = []
    for h in range(heads):
        size = len(query) // heads
        part = slice(h * size, (h + 1) * size)
        scores = torch.stack([query[part] @ key[part] / math.sqrt(size) for key in keys])
        shares = torch.exp(scores - scores.max()) / torch.exp(scores - scores.max()).sum()
        answers.append(sum(share * value[part] for share, value in zip(shares, values, strict=True)))
    return torch.cat(answers)


def multiattn(
    w: dict[str, Tensor],
    contexts: dict[str, list[Tensor]],
    keep: dict[str, list[bool]],
    turns: int,
    p: Params,
) -> dict[str, list[Tensor]]:
    """One dialogue: modality -> keys' contexts of [d], of which `keep` may be attended to -> `turns` fused of [d]."""
    used = [m for m in MODALITIES if m in contexts]
    fused = {}
    for m in used:
        others = [o for o in used if o != m]
        states = contexts[m][:turns]
        for i in range(p.layers):
            layer = f"multiattn.stacks.{m}.{i}."
            for j, other in enumerate(others):
                asking = [o for o in used if o != other]
                place = (
                    asking.index(m) * p.layers + i
                ) * 2  # rows of the key projection: asking, layer, key or value
                weight, bias = w[f"multiattn.keys.{other}.weight"], w[f"multiattn.keys.{other}.bias"]
                rows = [slice((place + n) * p.dim, (place + n + 1) * p.dim) for n in (0, 1)]
                heard = [c for c, kept in zip(contexts[other], keep[other], strict=True) if kept]
                keys = [weight[rows[0]] @ c + bias[rows[0]] for c in heard]
                values = [weight[rows[1]] @ c + bias[rows[1]] for c in heard]
                changed = []
                for x in states:
                    change = torch.zeros_like(x)
                    if heard:
                        answer = attend(linear(w, f"{layer}attend.{j}.query", x), keys, values, p.heads)
                        change = linear(w, f"{layer}attend.{j}.project", answer)
                    changed.append(layer_norm(w, f"{layer}norms.{j}.norm", x + change))
                states = changed
            changed = []
            for x in states:
                hidden = torch.relu(linear(w, f"{layer}expand", x))
                change = linear(w, f"{layer}contract", hidden)
                changed.append(layer_norm(w, f"{layer}norms.{len(others)}.norm", x + change))
            states = changed
        fused[m] = states
    return fused


# --- The whole model (equations 1–16) --------------------------------------------------------------------------


def multiemo(w: dict[str, Tensor], batch: Batch, p: Params) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Logits [U, C], z [U, d] and fused features [U, d], dialogue by dialogue."""
    published = p.compat == "published"
    used = [m for m in MODALITIES if m in batch.features]
    recurrent = [m for m in used if m != "text" or p.text_rnn]
    rnn = {name.removeprefix("rnn."): x for name, x in w.items() if name.startswith("rnn.")}
    logits, zs = [], []
    fused_all: dict[str, list[Tensor]] = {m: [] for m in used}
    for b, turns in enumerate(batch.lengths.tolist()):
        padded = int(batch.lengths.max()) - turns if published else 0
        speakers = batch.speakers[b, :turns].tolist()
        contexts, keep = {}, {}
        for m in used:
            inputs = []
            keep[m] = [bool(x) for x in batch.present[m][b, :turns]] + [True] * padded
            for t in range(turns):
                here = keep[m][t]
                inputs.append(
                    linear(w, f"project.{m}", batch.features[m][b, t]) if here else w[f"missing.{m}"]
                )
            if m not in recurrent:
                contexts[m] = inputs + [w[f"project.{m}.bias"]] * padded
                continue
            k = recurrent.index(m)
            forward = dialogue_rnn(inputs, speakers, chain_weights(rnn, k), padded)
            if p.bidirectional:
                weights = chain_weights(rnn, k + len(recurrent))
                reverse = dialogue_rnn(inputs[::-1], speakers[::-1], weights)[::-1]
                reverse += [torch.zeros_like(forward[0])] * padded
                states = [
                    linear(w, f"join.{m}", torch.cat([f, r])) for f, r in zip(forward, reverse, strict=True)
                ]
            else:
                states = forward
            contexts[m] = [torch.relu(e) for e in states]
        fused = (
            multiattn(w, contexts, keep, turns, p) if p.multiattn else {m: contexts[m][:turns] for m in used}
        )
        for t in range(turns):
            z = linear(w, "joint", torch.cat([fused[m][t] for m in used]))
            zs.append(z)
            logits.append(linear(w, "classify", torch.relu(linear(w, "hidden", z))))
            for m in used:
                fused_all[m].append(fused[m][t])
    return torch.stack(logits), torch.stack(zs), {m: torch.stack(x) for m, x in fused_all.items()}


# --- Losses (equations 18–22) ----------------------------------------------------------------------------------


def class_weights(counts: list[int], alpha: float, kind: str) -> list[float]:
    weights = [(sum(counts) / n) ** alpha if n else 0.0 for n in counts]
    return [x / sum(weights) for x in weights] if kind == "normalised" else weights


def swfc(z: Tensor, labels: list[int], weights: list[float], temperature: float, focus: float) -> Tensor:
    """Equations 18 and 19 on the normalised z, divided by the number of utterances."""
    unit = [x / torch.sqrt((x**2).sum()) for x in z]
    total = torch.zeros((), dtype=z.dtype)
    for j, anchor in enumerate(unit):
        others = [g for g in range(len(unit)) if g != j]
        positives = [g for g in others if labels[g] == labels[j]]
        if not positives:
            continue
        below = sum(torch.exp(anchor @ unit[s] / temperature) for s in others)
        terms = []
        for g in positives:
            s = torch.exp(anchor @ unit[g] / temperature) / below
            terms.append((1 - s) ** focus * torch.log(s))
        total = total - weights[labels[j]] * sum(terms) / len(positives)
    return total / len(unit)


def covariance(columns: list[Tensor]) -> Tensor:
    """[n, n] of n vectors of observations, with n - 1 below."""
    centred = [x - x.mean() for x in columns]
    return torch.stack([torch.stack([(a * b).sum() / (len(a) - 1) for b in centred]) for a in centred])


def soft_hgr_exact(fused: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """Equation 20: every ordered pair, features centred, covariances between features."""
    total = torch.zeros((), dtype=torch.float64)
    for q in fused:
        for v in fused:
            if q == v:
                continue
            both = present[q] & present[v]
            x, y = fused[q][both], fused[v][both]
            x, y = x - x.mean(0), y - y.mean(0)
            agreement = sum(a @ b for a, b in zip(x, y, strict=True)) / len(x)
            total = total - (agreement - 0.5 * torch.trace(covariance(list(x.T)) @ covariance(list(y.T))))
    return total


def soft_hgr_scaled(fused: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """As published: each pair once, nothing centred, covariances between utterances, divided by N twice."""
    total = torch.zeros((), dtype=torch.float64)
    names = list(fused)
    for i, q in enumerate(names):
        for v in names[i + 1 :]:
            both = present[q] & present[v]
            x, y = fused[q][both], fused[v][both]
            agreement = sum(a @ b for a, b in zip(x, y, strict=True)) / len(x)
            trace = torch.trace(covariance(list(x)) @ covariance(list(y))) / len(x)
            total = total - (agreement - 0.5 * trace) / len(x)
    return total
