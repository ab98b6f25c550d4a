"""MultiEMO and its losses as equations: one dialogue, one turn, one head, one pair at a time.

Read this file to learn the model. Each function is one equation, without optimisation, and no stage imports it.
tests/train/test_multiemo.py compares the fast code, and its hand-written gradients, with these values.
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
    """Return a GRU's new state [d] of the input `x` [n] and the state `h` [d]."""
    r = torch.sigmoid(w["xr"].T @ x + w["bxr"] + w["hr"].T @ h + w["bhr"])
    z = torch.sigmoid(w["xz"].T @ x + w["bxz"] + w["hz"].T @ h + w["bhz"])
    n = torch.tanh(w["xn"].T @ x + w["bxn"] + r * (w["hn"].T @ h + w["bhn"]))
    return (1 - z) * n + z * h


def chain_weights(rnn: dict[str, Tensor], k: int) -> dict[str, Any]:
    """Return the weights of chain k: its three cells gate by gate, and its attention."""
    w = {name: x[k] for name, x in rnn.items()}
    d = len(w["score"])

    def cell(
        inputs: list[Tensor], state: Tensor, input_bias: Tensor, hidden_bias: Tensor
    ) -> dict[str, Tensor]:
        x = torch.cat(inputs)  # [size of all inputs, (r, z, n)]
        xr, xz, xn = torch.split(x, d, 1)
        hn, hr, hz = torch.split(state, d, 1)
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
    """Return the emotion states of one dialogue in one direction.

    Args:
        inputs: [d] for each turn.
        speakers: the number of the party of each turn.
        w: the weights of the chain.
        idle: the number of steps after the last turn.

    Returns:
        A state [d] for each turn and for each idle step.
    """
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
    """Return W x + b."""
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def layer_norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Return the layer normalisation of `x` [d]."""
    spread = torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return (x - x.mean()) / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def attend(query: Tensor, keys: list[Tensor], values: list[Tensor], heads: int) -> Tensor:
    """Return the attention [d] of one query [d] to the keys and values, each [d], of its dialogue."""
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
    """Fuse the modalities of one dialogue.

    Args:
        w: the weights of the model.
        contexts: modality → a vector [d] for each key.
        keep: modality → whether each key is not masked.
        turns: the number of turns.
        p: the section `model`.

    Returns:
        Modality → a vector [d] for each turn.
    """
    used = [m for m in MODALITIES if m in contexts]
    fused = {}
    for m in used:
        others = [o for o in used if o != m]
        states = contexts[m][:turns]
        for i in range(p.layers):
            layer = f"multiattn.stacks.{m}.{i}."
            for j, other in enumerate(others):
                asking = [o for o in used if o != other]
                # The rows of the key projection are ordered by querying modality, layer, key or value.
                place = (asking.index(m) * p.layers + i) * 2
                weight, bias = w[f"multiattn.keys.{other}.weight"], w[f"multiattn.keys.{other}.bias"]
                rows = [slice((place + n) * p.dim, (place + n + 1) * p.dim) for n in (0, 1)]
                keys = [weight[rows[0]] @ c + bias[rows[0]] for c in contexts[other]]
                values = [weight[rows[1]] @ c + bias[rows[1]] for c in contexts[other]]
                changed = []
                for t, x in enumerate(states):
                    change = torch.zeros_like(x)
                    seen = [s for s, kept in enumerate(keep[other]) if kept and (s <= t or not p.causal)]
                    if seen:
                        answer = attend(
                            linear(w, f"{layer}attend.{j}.query", x),
                            [keys[s] for s in seen],
                            [values[s] for s in seen],
                            p.heads,
                        )
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
    """Return logits [U, C], z [U, d], and modality → fused features [U, d]."""
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
            if p.bidirectional and not p.causal:
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
    """Return the label weights of equation 19."""
    weights = [(sum(counts) / n) ** alpha if n else 0.0 for n in counts]
    return [x / sum(weights) for x in weights] if kind == "normalised" else weights


def swfc(z: Tensor, labels: list[int], weights: list[float], temperature: float, focus: float) -> Tensor:
    """Return SWFC of z [N, d], equations 18 and 19 on the normalised z, divided by N."""
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
    """Return the unbiased covariance [n, n] of n variables, each a vector of observations."""
    centred = [x - x.mean() for x in columns]
    return torch.stack([torch.stack([(a * b).sum() / (len(a) - 1) for b in centred]) for a in centred])


def soft_hgr_exact(fused: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """Return Soft-HGR of equation 20: every ordered pair, centred features, covariances between features."""
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
    """Return Soft-HGR of the published code.

    It counts each pair once, does not centre features, uses covariances between utterances, and divides by N twice.
    """
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
