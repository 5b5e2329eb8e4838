"""Between the words of the domain and the messages of the legacy API. No calls are made here."""

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from batcher.errors import Kind, ServiceError
from batcher.model import Part, Remedy, RemoteObject, RemoteStatus, Survey, Transcript, Word
from batcher.options import GRPC_DEFAULT_MODEL, Options, Storage
from batcher.service.grpc_errors import remedy
from batcher.service.stubs import speech_service_pb2 as pb

#: By the legacy documentation. Whatever else it may say one day is taken for work in progress.
STATUSES = {
    "QUEUED": RemoteStatus.QUEUED,
    "TRANSCRIBING": RemoteStatus.PROCESSING,
    "COMPLETED": RemoteStatus.COMPLETED,
    "FAILED": RemoteStatus.FAILED,
}

#: More than five hours of eight channels can hold; a service that sends more would fill the memory.
MAX_WORDS = 2_000_000
MAX_BYTES = 256 * 1024 * 1024
MAX_CHANNELS = 64
MAX_FILES = 100_000  #: in one list, many times what the service's limits allow an account to hold

_AUDIO = bytes([pb.TranscribeAsyncRequest.AUDIO_FIELD_NUMBER << 3 | 2])  # a field of bytes, its length follows
_SEVEN_BITS = 0x7F

_MOST_SECONDS = 1 << 40  # since 1970: times that make no sense must not leave the numbers of the table


def audio_message(piece: bytes) -> bytes:
    """Return a request that holds nothing but audio, as it goes over the wire.

    Protobuf makes the same of it, with two copies more of every piece of a recording on the way.
    """
    return b"".join((_AUDIO, _varint(len(piece)), piece))


def _varint(number: int) -> bytes:
    """Return a number as protobuf spells lengths: seven bits a byte, the lowest first, all but the last marked."""
    spelled = bytearray()
    while number > _SEVEN_BITS:
        spelled.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    spelled.append(number)
    return bytes(spelled)


def transcription_config(options: Options, reference: str) -> pb.TranscriptionConfig:
    """Return `options` as the service spells them, with `reference` for its request logs."""
    config = pb.TranscriptionConfig(
        model=options.model or GRPC_DEFAULT_MODEL,
        client_request_reference=reference,
        enable_global_speaker_diarization=options.speaker_diarization,
        min_num_speakers=options.min_speakers,
        max_num_speakers=options.max_speakers,
        enable_speaker_identification=options.speaker_identification,
        cand_speaker_names=options.speaker_names,
        enable_profanity_filter=options.profanity_filter,
        content_moderation_phrases=options.moderation_phrases,
        enable_dictation=options.dictation,
        enable_separate_recognition_per_channel=options.separate_channels,
        audio_format=options.audio_format,
        sample_rate_hertz=options.sample_rate,
        num_audio_channels=options.channels,
    )
    _add_messages(config, options)
    return config


def _add_messages(config: pb.TranscriptionConfig, options: Options) -> None:
    # A message that is there but empty is not the same as none, so each is set only when it was asked for.
    if options.speech_context or options.speech_context_name:
        entries = [pb.SpeechContextEntry(phrases=e.phrases, boost=e.boost) for e in options.speech_context]
        config.speech_context.CopyFrom(pb.SpeechContext(entries=entries, name=options.speech_context_name))
    if options.document_formatting:
        config.document_formatting_config.config_json = options.document_formatting
    if options.storage != Storage():
        config.storage_config.CopyFrom(_storage_config(options.storage))


def _storage_config(storage: Storage) -> pb.StorageConfig:
    config = pb.StorageConfig(
        object_id=storage.object_id,
        metadata=storage.metadata,
        title=storage.title,
        disable_store_audio=storage.disable_store_audio,
        disable_store_transcript=storage.disable_store_transcript,
    )
    if storage.datetime:
        config.datetime.FromDatetime(datetime.fromisoformat(storage.datetime.upper()))
    return config


def survey(files: Sequence[pb.TranscribeAsyncFileStatus]) -> Survey:
    """Return the service's list of all files. An entry without an id leaves it incomplete: nobody can act on it.

    Raises:
        ServiceError: LATER for a list of more files than there can be.
    """
    if len(files) > MAX_FILES:
        raise _senseless(f"a list of {len(files)} files")
    objects = tuple(_remote_object(file) for file in files)
    named = tuple(each for each in objects if each.id)
    return Survey(named, complete=len(named) == len(objects))


def _remote_object(file: pb.TranscribeAsyncFileStatus) -> RemoteObject:
    created = file.created_time
    status = STATUSES.get(file.status, RemoteStatus.PROCESSING)
    return RemoteObject(
        id=file.file_id,
        reference=file.reference_name,
        status=status,
        remedy=remedy(file.error_message) if status is RemoteStatus.FAILED else Remedy.NONE,
        error=file.error_message,
        created=_milliseconds(created) if file.HasField("created_time") else None,
    )


def _milliseconds(moment: Timestamp) -> int:
    return min(max(moment.seconds, 0), _MOST_SECONDS) * 1000 + moment.nanos // 1_000_000


class _Channel:
    """The words of one channel so far, and how many of them no later message can take back."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.settled = 0
        self.speakers: dict[str, str] = {}

    def add(self, result: pb.Result) -> None:
        """Replace the trailing words that were not final by the words of `result`."""
        del self.words[self.settled :]
        for word in result.words:
            self.words.append(_word(word))
            if word.is_final:
                self.settled = len(self.words)
        self.speakers = {str(each.speaker): each.name for each in result.speakers}


class Fold:
    """Folds the stream of a result into one transcript, as the service's own client does.

    Give it every message with `add`, and ask for the `transcript` only when the stream ended with OK: one
    that broke is a transcript cut short, and looks just like a whole one.
    """

    def __init__(self, max_words: int = MAX_WORDS, max_bytes: int = MAX_BYTES) -> None:
        self._max_words, self._max_bytes = max_words, max_bytes
        self._words = self._bytes = 0
        self._separate: bool | None = None
        self._explicit_space = False
        self._document: dict[str, object] | None = None
        self._channels: dict[int, _Channel] = {}

    def add(self, message: pb.GetTranscribeAsyncResultResponse | None) -> None:
        """Take the next message; None is one that could not be read.

        Raises:
            ServiceError: LATER for a message that makes no sense, HOPELESS when there are too many of them.
        """
        if message is None or not message.HasField("result"):
            raise _senseless("a message without a result")
        self._count(message)
        if self._separate is None:
            self._begin(message)
        if len(self._channels) > MAX_CHANNELS:
            raise _senseless(f"results of more than {MAX_CHANNELS} channels")
        if message.separate_recognition_per_channel != self._separate:
            raise _senseless("messages that disagree whether channels are separate")
        self._explicit_space |= message.metadata.explicit_space
        self._channels.setdefault(message.result.channel if self._separate else 0, _Channel()).add(message.result)

    def transcript(self) -> Transcript:
        """Return the whole transcript.

        Raises:
            ServiceError: LATER when nothing came, or not every channel from the first to the last.
        """
        if sorted(self._channels) != list(range(len(self._channels))) or not self._channels:
            raise _senseless("no result" if not self._channels else "results of other channels than it should")
        parts = tuple(self._part(number) for number in range(len(self._channels)))
        return Transcript(parts, separator=self._separator(parts), document=self._document)

    def _count(self, message: pb.GetTranscribeAsyncResultResponse) -> None:
        self._words += len(message.result.words)
        self._bytes += message.ByteSize()
        if self._words > self._max_words or self._bytes > self._max_bytes:
            raise ServiceError(
                Kind.HOPELESS,
                f"the transcript is larger than {self._max_words} words or {self._max_bytes} bytes",
                code="OK",
            )

    def _begin(self, message: pb.GetTranscribeAsyncResultResponse) -> None:
        self._separate = message.separate_recognition_per_channel
        if message.HasField("document"):
            self._document = MessageToDict(message.document, preserving_proto_field_name=True)

    def _part(self, number: int) -> Part:
        channel = self._channels[number]
        return Part(tuple(channel.words), number if self._separate else None, channel.speakers)

    def _separator(self, parts: tuple[Part, ...]) -> str:
        # Older models send bare words; where blanks come along, one more between the words would be too many.
        texts = (word.text for part in parts for word in part.words)
        carry_blanks = self._explicit_space or any(text[:1].isspace() for text in texts)
        return "" if carry_blanks else " "


def _word(word: pb.Word) -> Word:
    start = max(word.start_ms, 0)
    return Word(
        text=word.text,
        start_ms=start,
        end_ms=start + max(word.duration_ms, 0),
        confidence=word.confidence if 0 < word.confidence <= 1 else None,  # 0 is how the wire spells "not given"
        speaker=str(word.speaker) if word.speaker > 0 else None,
    )


def _senseless(what: str) -> ServiceError:
    return ServiceError(Kind.LATER, f"the service answered with {what}", code="OK")
