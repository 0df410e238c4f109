"""A page with players of synthetic sounds; the query says which: `?sound=short`, `call`, `hour` or `hours`."""

import itertools

import numpy as np
import player
import sounds
import streamlit as st

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SECONDS = {"short": 8.0, "call": 90.0, "hour": 3600.0, "hours": 10_800.0}


def lane(name: str, seconds: float, seed: int) -> player.Lane:
    """Stretches of 2 to 20 s with pauses between some of them."""
    rng = np.random.default_rng(seed)
    stretches, at = [], 0.4
    for index in itertools.count():
        length = min(rng.uniform(0.15, 0.4) * 8 if seconds < 10 else rng.uniform(2, 20), seconds - at)
        if length <= 0.5:
            return player.Lane(name, tuple(stretches))
        label = str(rng.choice([*LABELS[:5], "not_sure"], p=[0.3, 0.2, 0.1, 0.1, 0.2, 0.1]))
        share = None if label == "not_sure" else float(rng.uniform(0.4, 0.97))
        note = "maybe sad or neutral" if share is None else ""
        stretches.append(player.Stretch(at, at + length, label, share, note))
        at += length + (rng.uniform(0.3, 3) if index % 3 == 2 else 0)
    raise AssertionError


@st.cache_resource  # another run of the page shows the same sound
def sound(which: str) -> player.PlayableSound:
    """A voice and, of a call, another one in turn with it."""
    seconds, is_call = SECONDS[which], which in ("call", "hours")
    voices = [sounds.voice(20.0, f0=pitch) for pitch in (110.0, 220.0)]
    turn = np.repeat(np.arange(20) // 5 % 2, 16_000)
    block = np.stack([voices[0] * (turn == 0), voices[1] * (turn == 1)], axis=1) if is_call else voices[0]
    writer = player.SoundWriter(("left", "right") if is_call else ("",))
    for start in np.arange(0, seconds, 20.0):
        fade = 0.4 + 0.6 * abs(np.sin(start / 500))
        writer.push(fade * block[: round(min(20.0, seconds - start) * 16_000)])
    return writer.finish()


which = st.query_params.get("sound", "short")
playable = sound(which)
names = ("agent", "customer") if len(playable.names) > 1 else ("",)
lanes = [lane(name, playable.seconds, seed) for seed, name in enumerate(names)]
player.show(playable, lanes, labels=LABELS, name=f"{which}.wav")
st.button("Run again")
st.session_state.runs = st.session_state.get("runs", 0) + 1
st.text(f"Run {st.session_state.runs}")
st.markdown("[from 0:05](#t=5)")
