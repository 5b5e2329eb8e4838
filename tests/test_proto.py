"""The messages of the legacy API: generated from the proto file as it is, and on the wire as the service has them."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

import batcher.service.stubs
from batcher.service.generate import generate
from batcher.service.stubs import speech_service_pb2 as pb
from batcher.service.stubs import speech_service_pb2_grpc as rpc

STUBS = Path(batcher.service.stubs.__file__).parent
GENERATED = ("speech_service_pb2.py", "speech_service_pb2.pyi", "speech_service_pb2_grpc.py")

#: Field numbers by the service's own proto file.
FIELDS: dict[str, dict[str, int]] = {
    "TranscribeAsyncRequest": {"api_key": 1, "reference_name": 3, "audio": 4, "config": 5, "enable_eof": 6, "eof": 7},
    "TranscribeAsyncResponse": {"file_id": 1},
    "GetTranscribeAsyncStatusRequest": {"api_key": 1, "file_id": 2},
    "GetTranscribeAsyncStatusResponse": {"files": 1},
    "TranscribeAsyncFileStatus": {
        "file_id": 1,
        "reference_name": 2,
        "status": 3,
        "created_time": 4,
        "error_message": 5,
    },
    "GetTranscribeAsyncResultRequest": {"api_key": 1, "file_id": 2},
    "GetTranscribeAsyncResultResponse": {
        "result": 1,
        "separate_recognition_per_channel": 2,
        "metadata": 3,
        "document": 4,
    },
    "DeleteTranscribeAsyncFileRequest": {"api_key": 1, "file_id": 2},
    "DeleteTranscribeAsyncFileResponse": {},
    "TranscriptionConfig": {
        "audio_format": 1,
        "sample_rate_hertz": 2,
        "num_audio_channels": 3,
        "speech_context": 5,
        "enable_profanity_filter": 6,
        "content_moderation_phrases": 7,
        "enable_global_speaker_diarization": 9,
        "min_num_speakers": 10,
        "max_num_speakers": 11,
        "enable_speaker_identification": 12,
        "cand_speaker_names": 13,
        "model": 14,
        "enable_dictation": 15,
        "enable_separate_recognition_per_channel": 16,
        "document_formatting_config": 17,
        "client_request_reference": 19,
        "storage_config": 1006,
    },
    "SpeechContext": {"entries": 1, "name": 2},
    "SpeechContextEntry": {"phrases": 1, "boost": 2},
    "DocumentFormattingConfig": {"config_json": 1},
    "StorageConfig": {
        "object_id": 1,
        "metadata": 2,
        "title": 3,
        "datetime": 4,
        "disable_store_audio": 5,
        "disable_store_transcript": 6,
    },
    "Result": {"words": 1, "final_proc_time_ms": 2, "total_proc_time_ms": 3, "speakers": 6, "channel": 7},
    "Word": {
        "text": 1,
        "start_ms": 2,
        "duration_ms": 3,
        "is_final": 4,
        "speaker": 5,
        "orig_text": 8,
        "confidence": 9,
    },
    "ResultSpeaker": {"speaker": 1, "name": 2},
    "TranscriptionMetadata": {"package_version": 1, "explicit_space": 2},
    "Document": {"sections": 1, "qscore": 2},
    "DocumentSection": {"section_id": 1, "title": 2, "text": 3, "tokens": 4},
    "DocumentToken": {"text": 1, "start_ms": 2, "duration_ms": 3, "confidence": 4},
}
DOUBLES = {"SpeechContextEntry.boost", "Word.confidence", "DocumentToken.confidence"}


def without_versions(text: str) -> str:
    """Return generated text without the versions of the generators, whose patch releases change nothing else."""
    text = re.sub(r"\d+\.\d+\.\d+", "VERSION", text)
    return re.sub(r"(Domain\.PUBLIC,)\s+\d+,\s+\d+,\s+\d+,", r"\1 VERSION,", text)


def test_regenerating_gives_the_same_stubs(tmp_path: Path) -> None:
    """Nobody edited the stubs, or the proto file without generating them again."""
    fresh = tmp_path / "batcher" / "service" / "stubs"
    fresh.mkdir(parents=True)
    generate(tmp_path)
    assert sorted(path.name for path in fresh.iterdir()) == sorted(GENERATED)
    for name in GENERATED:
        assert without_versions((fresh / name).read_text()) == without_versions((STUBS / name).read_text()), name


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_field_numbers_are_the_services(name: str) -> None:
    """A wrong number would be sent, and silently ignored."""
    fields = pb.DESCRIPTOR.message_types_by_name[name].fields
    assert {field.name: field.number for field in fields} == FIELDS[name]


def test_no_message_was_forgotten_above() -> None:
    """A new message needs its numbers checked."""
    assert set(pb.DESCRIPTOR.message_types_by_name) == set(FIELDS)


def test_the_types_are_the_services() -> None:
    """A double read as a float would be nonsense; audio is bytes, whole numbers are 32 bits wide."""
    types = {
        f"{name}.{field.name}": field.type
        for name, message in pb.DESCRIPTOR.message_types_by_name.items()
        for field in message.fields
    }
    assert {name for name, kind in types.items() if kind == FieldDescriptor.TYPE_DOUBLE} == DOUBLES
    assert types["Document.qscore"] == FieldDescriptor.TYPE_FLOAT
    assert types["TranscribeAsyncRequest.audio"] == FieldDescriptor.TYPE_BYTES
    assert FieldDescriptor.TYPE_INT64 not in types.values()


def test_the_calls_are_the_services() -> None:
    """Their paths and shapes are what the service answers to."""
    service = pb.DESCRIPTOR.services_by_name["SpeechService"]
    assert service.full_name == "soniox.speech_service.SpeechService"
    shapes = {method.name: (method.client_streaming, method.server_streaming) for method in service.methods}
    assert shapes == {
        "TranscribeAsync": (True, False),
        "GetTranscribeAsyncStatus": (False, False),
        "GetTranscribeAsyncResult": (False, True),
        "DeleteTranscribeAsyncFile": (False, False),
    }
    assert all(hasattr(rpc.SpeechServiceServicer, name) for name in shapes)


def test_the_name_in_the_descriptor_pool_is_ours() -> None:
    """Another package's speech_service.proto in the same process must not meet ours."""
    assert pb.DESCRIPTOR.name == "batcher/service/stubs/speech_service.proto"
