"""Translations: beside what was spoken where people read, and never in the way of it."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.model import Part, Transcript, Word
from batcher.render import render
from batcher.render.turns import Utterance, utterances
from batcher.service.rest_messages import transcript as read
from tests.render_tools import (
    ABOUT,
    changed,
    channels,
    one_voice,
    plain_transcript,
    spoken,
    translated,
    translated_transcript,
    words,
)


def txt(transcript: Transcript) -> str:
    """Return the rendered text."""
    return render("txt", transcript, ABOUT).decode()


def paragraphs(*said: Sequence[Word]) -> list[str]:
    """Return the paragraphs of what one voice said, or several speakers on one channel."""
    return txt(one_voice(*said)).rstrip("\n").split("\n\n")


def test_a_translation_follows_what_it_translates_in_a_paragraph_of_its_own() -> None:
    """It begins with its language, and the next paragraph of the voice comes after it."""
    said = translated(words("The knee hurts."), "Das Knie schmerzt.")
    later = translated(words("No redness.", 5000), "Keine Rötung.")
    assert txt(one_voice(said, later)) == (
        "The knee hurts.\n\n[de] Das Knie schmerzt.\n\nNo redness.\n\n[de] Keine Rötung.\n"
    )


def test_a_sentence_translated_in_pieces_is_read_in_one() -> None:
    """The service translates a few words at a time."""
    pieces = [
        translated(words("Hello everyone,"), "Bonjour à tous,", "fr"),
        translated(words("thank you", 600), "merci", "fr"),
        translated(words("for joining us.", 1200), "de nous avoir rejoints.", "fr"),
    ]
    assert paragraphs(*pieces) == [
        "Hello everyone, thank you for joining us.",
        "[fr] Bonjour à tous, merci de nous avoir rejoints.",
    ]


def test_every_turn_is_followed_by_its_translation() -> None:
    """Who speaks stands before what was spoken, and the translation belongs to it."""
    said = [
        translated(words("Where does it hurt?", speaker="1"), "Wo tut es weh?"),
        translated(words("Here.", 2000, speaker="2"), "Hier."),
        translated(words("Since when?", 9000, speaker="2"), "Seit wann?"),
    ]
    assert paragraphs(*said) == [
        "Speaker 1: Where does it hurt?",
        "[de] Wo tut es weh?",
        "Speaker 2: Here. Since when?",
        "[de] Hier. Seit wann?",
    ]


def test_channels_are_woven_with_their_translations() -> None:
    """A translation stays with its channel, whatever is said in between."""
    said = channels(
        [translated(words("Shall we begin?"), "Fangen wir an?"), translated(words("Good.", 4000), "Gut.")],
        [translated(words("Yes, please.", 2000), "Ja, bitte.")],
    )
    assert txt(said).rstrip("\n").split("\n\n") == [
        "Channel 1: Shall we begin?",
        "[de] Fangen wir an?",
        "Channel 2: Yes, please.",
        "[de] Ja, bitte.",
        "Channel 1: Good.",
        "[de] Gut.",
    ]


@pytest.mark.parametrize(("speaker", "label"), [(None, ""), ("1", "Speaker 1: ")])
def test_two_languages_take_turns_sentence_by_sentence(speaker: str | None, label: str) -> None:
    """Where the language changes, so that each translation is beside its sentence."""
    said = [
        translated(words("Can you hear me?", speaker=speaker), "Hören Sie mich?", "de"),
        translated(words("Ja, gut.", 1300, speaker=speaker), "Yes, well.", "en"),
        translated(words("Let us begin.", 2000, speaker=speaker), "Fangen wir an.", "de"),
    ]
    assert paragraphs(*said) == [
        f"{label}Can you hear me?",
        "[de] Hören Sie mich?",
        f"{label}Ja, gut.",
        "[en] Yes, well.",
        f"{label}Let us begin.",
        "[de] Fangen wir an.",
    ]


def test_a_sentence_that_is_not_translated_stands_alone() -> None:
    """It is in the language asked for already; what follows it is not its translation."""
    said = [words("Seit wann?"), translated(words("Since Monday.", 600), "Seit Montag."), words("Gut.", 1300)]
    assert paragraphs(*said) == ["Seit wann?", "Since Monday.", "[de] Seit Montag.", "Gut."]


def test_a_word_that_is_not_translated_does_not_cut_its_sentence() -> None:
    """Another language cuts after sentences only."""
    original = [word._replace(translation="original") for word in words("It is")]
    said = [original, words("Schadenfreude,", 600), translated(words("I think.", 900), "Das ist Schadenfreude.")]
    assert paragraphs(*said) == ["It is Schadenfreude, I think.", "[de] Das ist Schadenfreude."]


def test_a_language_that_changes_amid_a_sentence_does_not_cut_it() -> None:
    """The translations of a mixed sentence follow it in order, one paragraph per language."""
    said = [
        translated(words("Then he said:"), "Dann sagte er:"),
        translated(words("komm her.", 900), "come here.", "en"),
    ]
    assert paragraphs(*said) == ["Then he said: komm her.", "[de] Dann sagte er:", "[en] come here."]


def test_a_pause_does_not_part_what_was_translated_together() -> None:
    """Else the first paragraph would be without its translation."""
    said = translated((*words("One."), *words(" Two.", 5000)), "Eins. Zwei.")
    assert paragraphs((said[0], Word(" "), *said[1:])) == ["One. Two.", "[de] Eins. Zwei."]


def test_a_script_without_blanks_is_joined_without_them() -> None:
    """The pieces are the service's own, blanks and all."""
    said = Word("Hello.", 0, 300, translation="original")
    pieces = [Word(text, language="zh", translation="translation") for text in ("你", "好", "。")]
    assert paragraphs((said, *pieces)) == ["Hello.", "[zh] 你好。"]


@pytest.mark.parametrize(
    ("language", "tag"),
    [
        ("de", "de"),
        (None, "translation"),
        ("", "translation"),
        ("\x1b\u202e", "translation"),
        ("d\x1b[2J\ne", "d[2J e"),
    ],
)
def test_the_language_is_shown_safely(language: str | None, tag: str) -> None:
    """It comes from the service; where it sends none, a word takes its place."""
    assert paragraphs(translated(words("Yes."), "Ja.", language)) == ["Yes.", f"[{tag}] Ja."]


def test_a_translation_amid_a_word_follows_the_word() -> None:
    """Words stay whole."""
    har, bour = Word("har", 0, 100, translation="original"), Word("bour.", 100, 200, translation="original")
    hafen = Word("Hafen.", language="de", translation="translation")
    assert paragraphs((har, hafen, bour)) == ["harbour.", "[de] Hafen."]


def test_a_word_translated_in_part_counts_as_translated() -> None:
    """A piece of it, here a full stop or a letter, may know nothing of that."""
    yes, ja = translated(words("Yes"), "Ja.")
    o, nein = translated((Word("o.", 700, 800),), "Nein.")
    said = [(yes, Word(".", 300, 400), ja), (Word("N", 600, 700), o, nein), translated(words("Hm.", 900), "Hm.")]
    assert paragraphs(*said) == ["Yes. No. Hm.", "[de] Ja. Nein. Hm."]


@pytest.mark.parametrize("blank", ["", " ", "\x1b"])
def test_a_translation_without_words_is_shown_all_the_same(blank: str) -> None:
    """What the service sends is never lost; it comes last."""
    stray = Part((Word(blank, translation="original"), Word("Ja.", language="de", translation="translation")))
    assert txt(Transcript((stray,))) == "[de] Ja.\n"
    assert txt(Transcript((stray, Part(words("Hm."))))) == "Channel 2: Hm.\n\n[de] Ja.\n"


def test_blanks_between_translations_without_words_do_not_part_them() -> None:
    """They are in the language of nobody."""
    ja, nein = (Word(text, language="de", translation="translation") for text in ("Ja.", " Nein."))
    assert txt(Transcript((Part((ja, Word(" ", 0, 1, language="en"), nein)),))) == "[de] Ja. Nein.\n"


@pytest.mark.parametrize("text", ["", " ", "\x1b"])
def test_a_translation_without_letters_has_no_paragraph(text: str) -> None:
    """A language in brackets alone would say nothing."""
    assert paragraphs((*words("Hm."), Word(text, language="de", translation="translation"))) == ["Hm."]


def test_a_translation_before_any_word_goes_with_the_first() -> None:
    """It has nothing to follow."""
    early = Word("Ja.", language="de", translation="translation")
    assert paragraphs((early, *words("Yes."))) == ["Yes.", "[de] Ja."]


def test_an_answer_of_the_service_is_read_and_shown() -> None:
    """Keys and pieces as the service documents them, null where it knows nothing."""
    said = {"confidence": 0.97, "speaker": None, "language": "en", "translation_status": "original"}
    told = {"confidence": 0.9, "language": "es", "source_language": "en", "translation_status": "translation"}
    tokens = [
        {"text": "Beau", "start_ms": 300, "end_ms": 420, **said},
        {"text": "tiful", "start_ms": 420, "end_ms": 780, **said},
        {"text": ".", "start_ms": 780, "end_ms": 800, **said},
        {"text": "Her", **told},
        {"text": "moso", **told},
        {"text": ".", **told},
        {"text": " Gracias", "start_ms": 900, "end_ms": 1400, **said, "language": "es", "translation_status": "none"},
    ]
    answer = read(json.dumps({"id": "1", "text": "", "tokens": tokens}).encode(), "stt-async-v5")
    assert txt(answer) == "Beautiful.\n\n[es] Hermoso.\n\nGracias\n"
    assert answer.text == "Beautiful. Gracias"
    assert answer.translation_text == "Hermoso."
    assert render("srt", answer, ABOUT).decode() == "1\n00:00:00,300 --> 00:00:01,400\nBeautiful. Gracias\n"


@given(translated_transcript)
def test_subtitles_are_those_of_the_spoken_words(transcript: Transcript) -> None:
    """To the byte, as if no translation had been asked for."""
    for name in ("srt", "vtt"):
        assert render(name, transcript, ABOUT) == render(name, spoken(transcript), ABOUT)


@given(translated_transcript)
def test_who_speaks_when_does_not_depend_on_translations(transcript: Transcript) -> None:
    """Words, times, speakers and turns are those of the spoken tokens."""
    assert bare(utterances(transcript)) == bare(utterances(spoken(transcript)))


def bare(said: Sequence[Utterance]) -> list[Utterance]:
    """Return utterances whose words know nothing of translations."""
    return [replace(each, words=tuple(word._replace(translation=()) for word in each.words)) for each in said]


@given(plain_transcript)
def test_without_a_translation_nothing_changes(transcript: Transcript) -> None:
    """Not even where the service marks words for one that it never made."""
    marked = changed(transcript, lambda part: [word._replace(translation="original") for word in part])
    for name in ("txt", "srt", "vtt"):
        assert render(name, marked, ABOUT) == render(name, transcript, ABOUT)
    assert marked.text == transcript.text
    assert marked.translation_text == ""


@given(translated_transcript)
def test_the_texts_are_the_pieces_of_the_service(transcript: Transcript) -> None:
    """Every token is in one of them, in order, and in no other; a text of translations is there only if one is."""
    for text, translation in ((transcript.text, False), (transcript.translation_text, True)):
        pieces = [
            [word.text for word in p.words if (word.translation == "translation") is translation]
            for p in transcript.parts
        ]
        lines = [transcript.separator.join(texts).strip() for texts in pieces]
        assert text == ("" if translation and not any(lines) else "\n".join(lines))


_SPOKEN = ["а", " б", "в.", " г.", " ", "", "\x1b", " д е."]
_TRANSLATED = ["α", " β", "γ.", " δ.", " ", "", "\x1b", " ε ζ"]
_speaker = st.sampled_from([None, None, "1", "2"])
_stream = st.lists(
    st.tuples(st.sampled_from(_SPOKEN), st.sampled_from(["", "original", "original"]), _speaker)
    | st.tuples(st.sampled_from(_TRANSLATED), st.just("translation"), _speaker),
    max_size=40,
)
Stream = list[tuple[str, str, str | None]]  #: text, whether it is spoken or a translation, who speaks
_languages = st.lists(st.sampled_from(["de", "en", None]), min_size=1, max_size=4)


def heard(stream: Stream, languages: Sequence[str | None], step: int) -> Part:
    """Return a part: spoken in Cyrillic letters, translated in Greek ones, so that both can be told apart."""
    return Part(
        tuple(
            Word(text, speaker=speaker, language=languages[number % len(languages)], translation=status)
            if status == "translation"
            else Word(text, number * step, number * step + 100, speaker=speaker, translation=status)
            for number, (text, status, speaker) in enumerate(stream)
        ),
    )


@given(_stream, _languages, st.sampled_from([100, 900, 2500]))
def test_no_piece_of_a_translation_is_lost_or_moved(stream: Stream, languages: list[str | None], step: int) -> None:
    """Both texts are whole and in order, and no translation comes before the words it follows."""
    part = heard(stream, languages, step)
    everything = "".join(word.text for word in part.words)
    shown = txt(Transcript((part,)))
    for letters in ("[а-я]", "[α-ω]"):
        assert re.findall(letters, shown) == re.findall(letters, everything)
    assert all(said <= seen for said, seen in zip(before(everything), before(shown), strict=True))


def before(text: str) -> list[int]:
    """Return for every Greek letter how many Cyrillic ones come before it."""
    return [len(re.findall("[а-я]", text[: match.start()])) for match in re.finditer("[α-ω]", text)]


@given(st.lists(st.tuples(_stream, _languages), max_size=3), st.sampled_from([100, 900, 2500]))
def test_nothing_is_lost_between_channels(streams: list[tuple[Stream, list[str | None]]], step: int) -> None:
    """However they are woven."""
    parts = tuple(heard(stream, languages, step) for stream, languages in streams)
    everything = "".join(word.text for part in parts for word in part.words)
    shown = txt(Transcript(parts))
    for letters in ("[а-я]", "[α-ω]"):
        assert sorted(re.findall(letters, shown)) == sorted(re.findall(letters, everything))
