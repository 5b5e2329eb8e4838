import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TranscribeAsyncRequest(_message.Message):
    __slots__ = ("api_key", "reference_name", "audio", "config", "enable_eof", "eof")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_NAME_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ENABLE_EOF_FIELD_NUMBER: _ClassVar[int]
    EOF_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    reference_name: str
    audio: bytes
    config: TranscriptionConfig
    enable_eof: bool
    eof: bool
    def __init__(self, api_key: _Optional[str] = ..., reference_name: _Optional[str] = ..., audio: _Optional[bytes] = ..., config: _Optional[_Union[TranscriptionConfig, _Mapping]] = ..., enable_eof: _Optional[bool] = ..., eof: _Optional[bool] = ...) -> None: ...

class TranscribeAsyncResponse(_message.Message):
    __slots__ = ("file_id",)
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    def __init__(self, file_id: _Optional[str] = ...) -> None: ...

class GetTranscribeAsyncStatusRequest(_message.Message):
    __slots__ = ("api_key", "file_id")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    file_id: str
    def __init__(self, api_key: _Optional[str] = ..., file_id: _Optional[str] = ...) -> None: ...

class GetTranscribeAsyncStatusResponse(_message.Message):
    __slots__ = ("files",)
    FILES_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[TranscribeAsyncFileStatus]
    def __init__(self, files: _Optional[_Iterable[_Union[TranscribeAsyncFileStatus, _Mapping]]] = ...) -> None: ...

class TranscribeAsyncFileStatus(_message.Message):
    __slots__ = ("file_id", "reference_name", "status", "created_time", "error_message")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    reference_name: str
    status: str
    created_time: _timestamp_pb2.Timestamp
    error_message: str
    def __init__(self, file_id: _Optional[str] = ..., reference_name: _Optional[str] = ..., status: _Optional[str] = ..., created_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error_message: _Optional[str] = ...) -> None: ...

class GetTranscribeAsyncResultRequest(_message.Message):
    __slots__ = ("api_key", "file_id")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    file_id: str
    def __init__(self, api_key: _Optional[str] = ..., file_id: _Optional[str] = ...) -> None: ...

class GetTranscribeAsyncResultResponse(_message.Message):
    __slots__ = ("result", "separate_recognition_per_channel", "metadata", "document")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SEPARATE_RECOGNITION_PER_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    result: Result
    separate_recognition_per_channel: bool
    metadata: TranscriptionMetadata
    document: Document
    def __init__(self, result: _Optional[_Union[Result, _Mapping]] = ..., separate_recognition_per_channel: _Optional[bool] = ..., metadata: _Optional[_Union[TranscriptionMetadata, _Mapping]] = ..., document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class DeleteTranscribeAsyncFileRequest(_message.Message):
    __slots__ = ("api_key", "file_id")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    file_id: str
    def __init__(self, api_key: _Optional[str] = ..., file_id: _Optional[str] = ...) -> None: ...

class DeleteTranscribeAsyncFileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TranscriptionConfig(_message.Message):
    __slots__ = ("audio_format", "sample_rate_hertz", "num_audio_channels", "speech_context", "enable_profanity_filter", "content_moderation_phrases", "enable_global_speaker_diarization", "min_num_speakers", "max_num_speakers", "enable_speaker_identification", "cand_speaker_names", "model", "enable_dictation", "enable_separate_recognition_per_channel", "document_formatting_config", "client_request_reference", "storage_config")
    AUDIO_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HERTZ_FIELD_NUMBER: _ClassVar[int]
    NUM_AUDIO_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ENABLE_PROFANITY_FILTER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_MODERATION_PHRASES_FIELD_NUMBER: _ClassVar[int]
    ENABLE_GLOBAL_SPEAKER_DIARIZATION_FIELD_NUMBER: _ClassVar[int]
    MIN_NUM_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    MAX_NUM_SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SPEAKER_IDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    CAND_SPEAKER_NAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENABLE_DICTATION_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SEPARATE_RECOGNITION_PER_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FORMATTING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    CLIENT_REQUEST_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    STORAGE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    audio_format: str
    sample_rate_hertz: int
    num_audio_channels: int
    speech_context: SpeechContext
    enable_profanity_filter: bool
    content_moderation_phrases: _containers.RepeatedScalarFieldContainer[str]
    enable_global_speaker_diarization: bool
    min_num_speakers: int
    max_num_speakers: int
    enable_speaker_identification: bool
    cand_speaker_names: _containers.RepeatedScalarFieldContainer[str]
    model: str
    enable_dictation: bool
    enable_separate_recognition_per_channel: bool
    document_formatting_config: DocumentFormattingConfig
    client_request_reference: str
    storage_config: StorageConfig
    def __init__(self, audio_format: _Optional[str] = ..., sample_rate_hertz: _Optional[int] = ..., num_audio_channels: _Optional[int] = ..., speech_context: _Optional[_Union[SpeechContext, _Mapping]] = ..., enable_profanity_filter: _Optional[bool] = ..., content_moderation_phrases: _Optional[_Iterable[str]] = ..., enable_global_speaker_diarization: _Optional[bool] = ..., min_num_speakers: _Optional[int] = ..., max_num_speakers: _Optional[int] = ..., enable_speaker_identification: _Optional[bool] = ..., cand_speaker_names: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., enable_dictation: _Optional[bool] = ..., enable_separate_recognition_per_channel: _Optional[bool] = ..., document_formatting_config: _Optional[_Union[DocumentFormattingConfig, _Mapping]] = ..., client_request_reference: _Optional[str] = ..., storage_config: _Optional[_Union[StorageConfig, _Mapping]] = ...) -> None: ...

class SpeechContext(_message.Message):
    __slots__ = ("entries", "name")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[SpeechContextEntry]
    name: str
    def __init__(self, entries: _Optional[_Iterable[_Union[SpeechContextEntry, _Mapping]]] = ..., name: _Optional[str] = ...) -> None: ...

class SpeechContextEntry(_message.Message):
    __slots__ = ("phrases", "boost")
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    phrases: _containers.RepeatedScalarFieldContainer[str]
    boost: float
    def __init__(self, phrases: _Optional[_Iterable[str]] = ..., boost: _Optional[float] = ...) -> None: ...

class DocumentFormattingConfig(_message.Message):
    __slots__ = ("config_json",)
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    config_json: str
    def __init__(self, config_json: _Optional[str] = ...) -> None: ...

class StorageConfig(_message.Message):
    __slots__ = ("object_id", "metadata", "title", "datetime", "disable_store_audio", "disable_store_transcript")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DATETIME_FIELD_NUMBER: _ClassVar[int]
    DISABLE_STORE_AUDIO_FIELD_NUMBER: _ClassVar[int]
    DISABLE_STORE_TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    object_id: str
    metadata: _containers.ScalarMap[str, str]
    title: str
    datetime: _timestamp_pb2.Timestamp
    disable_store_audio: bool
    disable_store_transcript: bool
    def __init__(self, object_id: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., title: _Optional[str] = ..., datetime: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., disable_store_audio: _Optional[bool] = ..., disable_store_transcript: _Optional[bool] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("words", "final_proc_time_ms", "total_proc_time_ms", "speakers", "channel")
    WORDS_FIELD_NUMBER: _ClassVar[int]
    FINAL_PROC_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PROC_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[Word]
    final_proc_time_ms: int
    total_proc_time_ms: int
    speakers: _containers.RepeatedCompositeFieldContainer[ResultSpeaker]
    channel: int
    def __init__(self, words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., final_proc_time_ms: _Optional[int] = ..., total_proc_time_ms: _Optional[int] = ..., speakers: _Optional[_Iterable[_Union[ResultSpeaker, _Mapping]]] = ..., channel: _Optional[int] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("text", "start_ms", "duration_ms", "is_final", "speaker", "orig_text", "confidence")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    ORIG_TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_ms: int
    duration_ms: int
    is_final: bool
    speaker: int
    orig_text: str
    confidence: float
    def __init__(self, text: _Optional[str] = ..., start_ms: _Optional[int] = ..., duration_ms: _Optional[int] = ..., is_final: _Optional[bool] = ..., speaker: _Optional[int] = ..., orig_text: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class ResultSpeaker(_message.Message):
    __slots__ = ("speaker", "name")
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    speaker: int
    name: str
    def __init__(self, speaker: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class TranscriptionMetadata(_message.Message):
    __slots__ = ("package_version", "explicit_space")
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPLICIT_SPACE_FIELD_NUMBER: _ClassVar[int]
    package_version: str
    explicit_space: bool
    def __init__(self, package_version: _Optional[str] = ..., explicit_space: _Optional[bool] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("sections", "qscore")
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    QSCORE_FIELD_NUMBER: _ClassVar[int]
    sections: _containers.RepeatedCompositeFieldContainer[DocumentSection]
    qscore: float
    def __init__(self, sections: _Optional[_Iterable[_Union[DocumentSection, _Mapping]]] = ..., qscore: _Optional[float] = ...) -> None: ...

class DocumentSection(_message.Message):
    __slots__ = ("section_id", "title", "text", "tokens")
    SECTION_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    section_id: str
    title: str
    text: str
    tokens: _containers.RepeatedCompositeFieldContainer[DocumentToken]
    def __init__(self, section_id: _Optional[str] = ..., title: _Optional[str] = ..., text: _Optional[str] = ..., tokens: _Optional[_Iterable[_Union[DocumentToken, _Mapping]]] = ...) -> None: ...

class DocumentToken(_message.Message):
    __slots__ = ("text", "start_ms", "duration_ms", "confidence")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_ms: int
    duration_ms: int
    confidence: float
    def __init__(self, text: _Optional[str] = ..., start_ms: _Optional[int] = ..., duration_ms: _Optional[int] = ..., confidence: _Optional[float] = ...) -> None: ...
