"""The models of the REST API: which there are, and which name really means which."""

from batcher.emulator.rest_bodies import LanguageBody, ModelBody

CURRENT = "stt-async-v5"
ALIASES = ("stt-async-v4", "stt-async-v3", "stt-async-preview", "stt-async-preview-v1")
REAL_TIME = "stt-rt-v5"

_CODES = """
    af sq ar az eu be bn bs bg ca zh hr cs da nl en et fi fr gl de el gu he hi hu id it ja kn kk ko lv lt mk ms ml
    mr no fa pl pt pa ro ru sr sk sl es sw sv tl ta te th tr uk ur vi cy
"""


def routed(model: str) -> str | None:
    """Return the model that works for `model`: retired names are silently sent on. None: there is none."""
    return CURRENT if model in (CURRENT, *ALIASES) else None


def all_models() -> list[ModelBody]:
    """Return the list of models as the service gives it."""
    languages = [LanguageBody(code=code, name=code) for code in _CODES.split()]
    asynchronous = [
        ModelBody(
            id=name,
            aliased_model_id=None if name == CURRENT else CURRENT,
            name=name,
            transcription_mode="async",
            languages=languages,
        )
        for name in (CURRENT, *ALIASES)
    ]
    real_time = ModelBody(id=REAL_TIME, name=REAL_TIME, transcription_mode="real_time", languages=languages)
    return [*asynchronous, real_time]
