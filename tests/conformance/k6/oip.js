// The Open Inference Protocol: what describes the server, and tensors one by one and on streams.
import encoding from 'k6/encoding';
import grpc from 'k6/net/grpc';
import { check } from 'k6';

import { MODEL, exchange, invoke } from './router.js';

const SERVICE = 'inference.GRPCInferenceService';
const SHAPE = [1, 24, 32, 3];
// Levels that differ, so that bytes that were lost or moved would be another picture.
const LEVELS = Array.from({ length: SHAPE.reduce((all, size) => all * size) }, (_, i) => i % 251);
const BYTES = encoding.b64encode(new Uint8Array(LEVELS).buffer);
export const STREAMED = 4;

// In protobuf's JSON 64-bit integers are text, and bytes are base64 both ways.
function raw(id) {
  return { ...request(id), raw_input_contents: [BYTES] };
}

function typed(id) {
  const asked = request(id);
  asked.inputs[0].contents = { uint_contents: LEVELS };
  return asked;
}

function request(id) {
  return { model_name: MODEL, id, inputs: [{ name: 'image', datatype: 'UINT8', shape: SHAPE }] };
}

// Asked once a run, with nothing else under way. The names of the model's outputs.
export function described() {
  check(invoke(`${SERVICE}/ServerLive`, {}), { 'ServerLive: true': (it) => it.message.live });
  check(invoke(`${SERVICE}/ServerReady`, {}), { 'ServerReady: true': (it) => it.message.ready });
  check(invoke(`${SERVICE}/ModelReady`, { name: MODEL }), {
    'ModelReady: true': (it) => it.message.ready,
  });
  check(invoke(`${SERVICE}/ModelReady`, { name: 'no-such-model' }), {
    'ModelReady of an unknown model: false': (it) =>
      it.status === grpc.StatusOK && it.message.ready === false,
  });
  const metadata = invoke(`${SERVICE}/ModelMetadata`, { name: MODEL });
  check(metadata, {
    'ModelMetadata: one input': (it) => it.message.inputs.length === 1,
    'ModelMetadata: it takes pictures': (it) => isPicture(it.message.inputs[0]),
  });
  check(invoke(`${SERVICE}/ModelInfer`, { ...raw('unknown'), model_name: 'no-such-model' }), {
    'ModelInfer of an unknown model: NOT_FOUND': (it) => it.status === grpc.StatusNotFound,
    'ModelInfer of an unknown model: its message': (it) =>
      it.error?.message.startsWith("there is no model 'no-such-model'; the catalogue has: "),
    'ModelInfer of an unknown model: its reason': (it) => it.error?.details[0].reason === 'NOT_FOUND',
  });
  const asBytes = invoke(`${SERVICE}/ModelInfer`, raw('bytes'));
  check(invoke(`${SERVICE}/ModelInfer`, typed('numbers')), {
    'typed and raw contents: the same outputs': (it) =>
      it.message.rawOutputContents.length > 0 &&
      it.message.rawOutputContents.join() === asBytes.message.rawOutputContents.join(),
  });
  return metadata.message.outputs.map((output) => output.name);
}

// Field by field: k6 gives those of a message in any order.
function isPicture(input) {
  return (
    input?.name === 'image' && input.datatype === 'UINT8' && input.shape.join() === '-1,-1,-1,3'
  );
}

// One picture, its bytes as they are. How many answers were right.
export function rawCall(id, outputs) {
  return called('raw', id, outputs, invoke(`${SERVICE}/ModelInfer`, raw(id)));
}

// The same picture as numbers: twice k6's CPU time, already for one as small as this.
export function typedCall(id, outputs) {
  return called('typed', id, outputs, invoke(`${SERVICE}/ModelInfer`, typed(id)));
}

function called(way, id, outputs, unary) {
  const right = check(unary, {
    [`${way}: OK`]: (it) => it.status === grpc.StatusOK,
    [`${way}: its id and its outputs`]: (it) => isAnswer(it.message, id, outputs),
  });
  return right ? 1 : 0;
}

// STREAMED of them on a stream. How many answers were right: all that were asked for, or none.
export async function streamed(id, outputs) {
  const ids = Array.from({ length: STREAMED }, (_, number) => `${id}-${number}`);
  const seen = await exchange(`${SERVICE}/ModelStreamInfer`, (stream) => {
    ids.forEach((each) => stream.write(raw(each)));
    stream.end();
  });
  const right = check(seen, {
    'stream: ends with OK': (it) => it.error === null,
    'stream: no error within it': (it) => it.messages.every((answer) => !answer.errorMessage),
    'stream: as many answers as requests': (it) => it.messages.length === STREAMED,
    'stream: in order, each with its outputs': (it) =>
      it.messages.every((answer, place) => isAnswer(answer.inferResponse, ids[place], outputs)),
  });
  return right ? STREAMED : 0;
}

// An error on a stream has a message without outputs.
function isAnswer(message, id, outputs) {
  return (
    message?.id === id &&
    message.outputs?.map((output) => output.name).join() === outputs.join() &&
    message.rawOutputContents?.length === outputs.length
  );
}
