"""Between the core's words and the messages of the legacy API, seen from the service's side."""

from collections.abc import Iterator, Sequence

from google.protobuf.json_format import MessageToDict, ParseDict

from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Config
from batcher.model import Part, RemoteObject, RemoteStatus, Transcript, Word
from batcher.service.stubs import speech_service_pb2 as pb

STATUS_WORDS = {
    RemoteStatus.QUEUED: "QUEUED",
    RemoteStatus.PROCESSING: "TRANSCRIBING",
    RemoteStatus.COMPLETED: "COMPLETED",
    RemoteStatus.FAILED: "FAILED",
}


def config_from(sent: pb.TranscriptionConfig) -> Config:
    """Return what a client asked for."""
    return Config(
        model=sent.model,
        separate_channels=sent.enable_separate_recognition_per_channel,
        speakers=sent.enable_global_speaker_diarization,
        speaker_names=tuple(sent.cand_speaker_names) if sent.enable_speaker_identification else (),
        document=sent.HasField("document_formatting_config"),
        audio_format=sent.audio_format,
        sample_rate=sent.sample_rate_hertz,
        channels=sent.num_audio_channels,
        as_sent=MessageToDict(sent, preserving_proto_field_name=True),
    )


def file_status(seen: RemoteObject) -> pb.TranscribeAsyncFileStatus:
    """Return one entry of the list."""
    status = pb.TranscribeAsyncFileStatus(
        file_id=seen.id,
        reference_name=seen.reference,
        status=STATUS_WORDS[seen.status],
        error_message=seen.error,
    )
    status.created_time.FromMilliseconds(seen.created or 0)
    return status


def result_messages(
    transcript: Transcript, knobs: Knobs, *, separate: bool
) -> Iterator[pb.GetTranscribeAsyncResultResponse]:
    """Yield a result in messages, channel by channel; the document comes with the first one only."""
    document = transcript.document
    for part in transcript.parts:
        for final, provisional in _pieces(part.words, knobs):
            message = pb.GetTranscribeAsyncResultResponse(
                result=_result(part, final, provisional),
                separate_recognition_per_channel=separate,
                metadata=pb.TranscriptionMetadata(package_version="emulator", explicit_space=not transcript.separator),
            )
            if document is not None:
                ParseDict(dict(document), message.document)
                document = None
            yield message


def _pieces(words: Sequence[Word], knobs: Knobs) -> Iterator[tuple[Sequence[Word], Sequence[Word]]]:
    """Yield final words and the provisional ones after them; at least one piece, even of silence."""
    size = knobs.words_per_message
    for start in range(0, max(len(words), 1), size):
        end = start + size
        yield words[start:end], words[end : end + knobs.provisional_words]


def _result(part: Part, final: Sequence[Word], provisional: Sequence[Word]) -> pb.Result:
    end = final[-1].end_ms if final else 0
    return pb.Result(
        words=[*(_word(word, final=True) for word in final), *(_word(word, final=False) for word in provisional)],
        final_proc_time_ms=end,
        total_proc_time_ms=end,
        speakers=[pb.ResultSpeaker(speaker=int(label), name=name) for label, name in part.speakers.items()],
        channel=part.channel or 0,
    )


def _word(word: Word, *, final: bool) -> pb.Word:
    start = word.start_ms or 0
    return pb.Word(
        text=word.text,
        start_ms=start,
        duration_ms=(word.end_ms or start) - start,
        is_final=final,
        speaker=int(word.speaker or 0),
        confidence=word.confidence or 0.0,
    )
