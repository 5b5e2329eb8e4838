"""Options into the service's messages, and its messages into surveys and transcripts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from batcher.errors import Kind, ServiceError
from batcher.model import Part, RemoteObject, RemoteStatus, Transcript, Word
from batcher.options import Options
from batcher.service import CHUNK_BYTES
from batcher.service.grpc_messages import Fold, audio_message, survey, transcription_config
from batcher.service.stubs import speech_service_pb2 as pb
from tests.test_options import EVERYTHING


def word(text: str, final: bool = True, **fields: Any) -> pb.Word:
    """Return a word of a result."""
    return pb.Word(text=text, is_final=final, **fields)


def message(*words: pb.Word, channel: int = 0, separate: bool = False, **fields: Any) -> Any:
    """Return one message of a result stream."""
    result = pb.Result(words=words, channel=channel, speakers=fields.pop("speakers", []))
    return pb.GetTranscribeAsyncResultResponse(result=result, separate_recognition_per_channel=separate, **fields)


def fold(*messages: Any, **bounds: int) -> Transcript:
    """Return the transcript of these messages."""
    folding = Fold(**bounds)
    for each in messages:
        folding.add(each)
    return folding.transcript()


def folded(*messages: Any) -> list[str]:
    """Return the texts of all words, one string per part."""
    return ["".join(word.text for word in part.words) for part in fold(*messages).parts]


def failure_of(*messages: Any, **bounds: int) -> Kind:
    """Return the kind of the error that folding these messages ends with."""
    with pytest.raises(ServiceError) as caught:
        fold(*messages, **bounds)
    return caught.value.kind


@pytest.mark.parametrize("length", [1, 127, 128, 16_383, 16_384, CHUNK_BYTES, 2_097_152])
def test_audio_is_spelled_as_protobuf_spells_it(length: int) -> None:
    """Byte for byte, where the number that tells its length grows by a byte and elsewhere."""
    piece = bytes(length)
    assert audio_message(piece) == pb.TranscribeAsyncRequest(audio=piece).SerializeToString()


def test_options_left_alone_send_the_model_and_the_reference_only() -> None:
    """An empty model would mean an older one to the service, everything else is its own default."""
    config = transcription_config(Options(), "label")
    assert config == pb.TranscriptionConfig(model="en_v2", client_request_reference="label")


def test_every_option_is_sent() -> None:
    """Each under the service's own name."""
    assert transcription_config(Options.model_validate(EVERYTHING), "label") == pb.TranscriptionConfig(
        model="en_v2",
        client_request_reference="label",
        speech_context=pb.SpeechContext(
            entries=[pb.SpeechContextEntry(phrases=["acetylsalicylic", "Öl"], boost=5)], name="clinic"
        ),
        enable_global_speaker_diarization=True,
        min_num_speakers=1,
        max_num_speakers=3,
        enable_speaker_identification=True,
        cand_speaker_names=["first", "second"],
        enable_profanity_filter=True,
        content_moderation_phrases=["secret"],
        enable_dictation=True,
        enable_separate_recognition_per_channel=True,
        audio_format="pcm_s16le",
        sample_rate_hertz=16000,
        num_audio_channels=2,
        document_formatting_config=pb.DocumentFormattingConfig(config_json='{"a": 1}'),
        storage_config=pb.StorageConfig(
            object_id="x",
            title="t",
            metadata={"k": "v"},
            datetime=datetime(2024, 5, 31, 14, tzinfo=UTC),
            disable_store_audio=True,
            disable_store_transcript=True,
        ),
    )


def test_a_list_says_what_the_service_said() -> None:
    """All four statuses, the time to the millisecond; a status of the future is work in progress."""
    listed = survey(
        [
            pb.TranscribeAsyncFileStatus(file_id="1", reference_name="r", status="QUEUED"),
            pb.TranscribeAsyncFileStatus(
                file_id="2", status="TRANSCRIBING", created_time={"seconds": 5, "nanos": 6_999_999}
            ),
            pb.TranscribeAsyncFileStatus(file_id="3", status="COMPLETED"),
            pb.TranscribeAsyncFileStatus(file_id="4", status="FAILED", error_message="noise"),
            pb.TranscribeAsyncFileStatus(file_id="5", status="ARCHIVED"),
        ]
    )
    assert listed.complete
    assert listed.objects == (
        RemoteObject("1", "r", RemoteStatus.QUEUED),
        RemoteObject("2", "", RemoteStatus.PROCESSING, created=5006),
        RemoteObject("3", "", RemoteStatus.COMPLETED),
        RemoteObject("4", "", RemoteStatus.FAILED, error="noise"),
        RemoteObject("5", "", RemoteStatus.PROCESSING),
    )


def test_a_list_with_a_nameless_entry_proves_no_absence() -> None:
    """What has no id can be neither fetched nor deleted."""
    listed = survey([pb.TranscribeAsyncFileStatus(reference_name="r"), pb.TranscribeAsyncFileStatus(file_id="1")])
    assert not listed.complete
    assert [each.id for each in listed.objects] == ["1"]


def test_words_that_are_not_final_are_replaced_by_the_next_message() -> None:
    """Only the trailing ones: a word before a final one stays."""
    assert folded(message(word("a"), word("b", False)), message(word("c"), word("d", False))) == ["acd"]
    assert folded(message(word("a", False), word("b")), message(word("c"))) == ["abc"]
    assert folded(message(word("a", False)), message(word("b", False)), message(word("c"))) == ["c"]
    assert folded(message(word("a"), word("b", False)), message()) == ["a"]


def test_channels_are_folded_apart() -> None:
    """Messages of two channels may come in any order; each keeps its own words that are not final."""
    order = (("x", 1, False), ("a", 0, True), ("y", 1, True), ("b", 0, True))
    parts = fold(*(message(word(text, final), channel=number, separate=True) for text, number, final in order)).parts
    assert [(part.channel, [each.text for each in part.words]) for part in parts] == [(0, ["a", "b"]), (1, ["y"])]


def test_without_separate_channels_the_channel_says_nothing() -> None:
    """There is one part, of no channel."""
    assert [part.channel for part in fold(message(word("a"), channel=3)).parts] == [None]


def test_a_word_keeps_what_is_known_of_it() -> None:
    """Start and duration become start and end; what the wire cannot tell from nothing is nothing."""
    known = word("a", start_ms=100, duration_ms=50, speaker=2, confidence=0.5)
    odd = word("b", start_ms=-5, duration_ms=-5, speaker=-1, confidence=float("nan"))
    whole = fold(message(known, word("c"), odd, speakers=[pb.ResultSpeaker(speaker=2, name="second")]))
    assert whole.parts == (
        Part((Word("a", 100, 150, 0.5, "2"), Word("c", 0, 0), Word("b", 0, 0)), None, {"2": "second"}),
    )


def test_the_last_message_names_the_speakers() -> None:
    """Its list takes the place of those before."""
    first, second = (
        message(speakers=[pb.ResultSpeaker(speaker=i, name=name)]) for i, name in ((1, "first"), (2, "second"))
    )
    assert fold(first, second).parts[0].speakers == {"2": "second"}


@pytest.mark.parametrize(
    ("texts", "explicit", "separator"),
    [
        (("one", "two"), False, " "),
        (("one", "two"), True, ""),
        (("one", " ", "two"), False, ""),
        (("one", " two"), False, ""),
        ((), False, " "),
    ],
)
def test_words_are_joined_as_their_model_means_it(texts: tuple[str, ...], explicit: bool, separator: str) -> None:
    """Blanks that come along are not doubled, and bare words do not run together."""
    whole = fold(message(*map(word, texts), metadata=pb.TranscriptionMetadata(explicit_space=explicit)))
    assert whole.separator == separator


def test_the_document_comes_from_the_first_message() -> None:
    """As the service sent it, with its own names."""
    document = pb.Document(sections=[pb.DocumentSection(section_id="s", text="t")], qscore=0.5)
    whole = fold(message(document=document), message(document=pb.Document(qscore=1)))
    assert whole.document == {"sections": [{"section_id": "s", "text": "t"}], "qscore": 0.5}
    assert fold(message(), message(document=document)).document is None


def test_silence_is_a_transcript() -> None:
    """A result without words is one, a stream without a result is none."""
    assert folded(message()) == [""]
    assert failure_of() is Kind.LATER


@pytest.mark.parametrize(
    "messages",
    [
        [pb.GetTranscribeAsyncResultResponse()],
        [message(word("a")), pb.GetTranscribeAsyncResultResponse()],
        [None],
        [message(word("a")), message(word("b"), separate=True)],
        [message(word("a"), separate=True), message(word("b"))],
        [message(word("a"), channel=1, separate=True)],
        [message(word("a"), channel=0, separate=True), message(word("b"), channel=2, separate=True)],
        [message(word("a"), channel=-1, separate=True), message(word("b"), channel=0, separate=True)],
    ],
)
def test_a_stream_that_makes_no_sense_is_no_transcript(messages: list[Any]) -> None:
    """A message without a result, a change of mind, a missing channel: asked for again."""
    assert failure_of(*messages) is Kind.LATER


def test_a_transcript_without_end_is_given_up() -> None:
    """Neither its words nor its bytes may fill the memory; exactly the bound passes."""
    three = message(word("a"), word("b"), word("c"))
    assert failure_of(three, message(word("d")), max_words=3) is Kind.HOPELESS
    assert failure_of(three, three, max_bytes=2 * three.ByteSize() - 1) is Kind.HOPELESS
    assert len(fold(three, max_words=3, max_bytes=three.ByteSize()).parts[0].words) == 3
