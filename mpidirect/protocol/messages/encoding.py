"""The encoder of headers, and one decoder for each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

import msgspec

from ..frames import Frame
from . import client, engine
from .shared import Message

_FromClient = Union[
    client.Hello,
    client.Request,
    client.BalancedTasks,
    client.Chunk,
    client.Query,
    client.Release,
    client.Ack,
    client.Goodbye,
]
_FromController = Union[
    client.Welcome,
    client.Refused,
    client.Farewell,
    client.ControllerRestarts,
    client.Results,
    client.RelayedOutput,
    client.DebuggerPrompt,
    client.Chunk,
    client.DataRead,
    client.DataMoving,
    client.ResultSize,
    client.ResultMoved,
    client.Answer,
    client.EnginesChanged,
    client.Ack,
]
_ToEngine = Union[
    engine.Task,
    engine.AbortTasks,
    engine.Signal,
    engine.CollectiveBroken,
    engine.DropResults,
    engine.Stop,
    engine.LeaveCommunicator,
    engine.RepairCommunicator,
    engine.SpawnEngines,
    engine.PrepareCommunicators,
    engine.MakeCommunicators,
    engine.UseCommunicators,
    engine.Inspect,
    engine.DebuggerCommand,
    engine.ProgressMPI,
    engine.RevokeWorld,
    engine.SignalProcess,
    engine.ExamineProcesses,
    engine.EndSpawn,
    engine.WatchJoin,
]
_FromEngine = Union[
    engine.EngineHello,
    engine.EnginePlaced,
    engine.Resend,
    engine.DataFetched,
    engine.DataArriving,
    engine.Moved,
    engine.Output,
    engine.TaskDone,
    engine.BatchDone,
    engine.CommunicatorsMade,
    engine.EnginesSpawned,
    engine.ReadyToJoin,
    engine.Inspection,
    engine.DebuggerWaits,
    engine.ProcessesExamined,
    engine.TasksAborted,
    engine.CommunicatorRevoked,
]

encode = msgspec.msgpack.Encoder().encode
decode_from_client: Callable[[Frame], Message] = msgspec.msgpack.Decoder(_FromClient).decode
decode_from_controller: Callable[[Frame], Message] = msgspec.msgpack.Decoder(_FromController).decode
decode_to_engine: Callable[[Frame], Message] = msgspec.msgpack.Decoder(_ToEngine).decode
decode_from_engine: Callable[[Frame], Message] = msgspec.msgpack.Decoder(_FromEngine).decode
decode_engine_frames = msgspec.msgpack.Decoder(engine.EngineFrames).decode

MalformedMessage = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # raised by the decoders
