// k6, unmodified, asks the router: ModelInfer by unary calls, then the same on a stream.
//
//   k6 run -e ROUTER=127.0.0.1:50053 -e PROTO=../../../proto tests/conformance/k6/infer.js
//
// VUS (4) and ITERATIONS (40, of all of them together) say how much. PROTO is relative to this file.
import encoding from 'k6/encoding';
import exec from 'k6/execution';
import grpc from 'k6/net/grpc';
import { check } from 'k6';

const SHAPE = [1, 24, 32, 3];
const PICTURE = encoding.b64encode(
  new Uint8Array(SHAPE.reduce((product, size) => product * size)).fill(120).buffer,
);

const client = new grpc.Client();
client.load([__ENV.PROTO || '../../../proto'], 'inference/grpc_service.proto');

export const options = {
  scenarios: {
    infer: {
      executor: 'shared-iterations',
      vus: Number(__ENV.VUS || 4),
      iterations: Number(__ENV.ITERATIONS || 40),
    },
  },
  thresholds: { checks: ['rate == 1'] },
};

function request(id) {
  return {
    model_name: 'nanodet-g',
    id,
    inputs: [{ name: 'image', datatype: 'UINT8', shape: SHAPE }],
    raw_input_contents: [PICTURE],
  };
}

function connected() {
  if (exec.vu.iterationInScenario === 0) {
    client.connect(__ENV.ROUTER, { plaintext: true, timeout: '10s' });
  }
}

export default function () {
  connected();
  const id = `unary-${exec.scenario.iterationInTest}`;
  const unary = client.invoke('inference.GRPCInferenceService/ModelInfer', request(id));
  check(unary, {
    'unary: OK': (answer) => answer && answer.status === grpc.StatusOK,
    'unary: its id': (answer) => answer.message.id === id,
    'unary: four outputs': (answer) => answer.message.rawOutputContents.length === 4,
  });

  const unknown = client.invoke('inference.GRPCInferenceService/ModelInfer', {
    ...request('unknown'),
    model_name: 'no-such-model',
  });
  check(unknown, {
    'an unknown model: NOT_FOUND': (answer) => answer.status === grpc.StatusNotFound,
  });

  const seen = [];
  const stream = new grpc.Stream(client, 'inference.GRPCInferenceService/ModelStreamInfer');
  stream.on('data', (answer) => seen.push(answer));
  stream.on('end', () => {
    check(seen, {
      'stream: two answers': (answers) => answers.length === 2,
      'stream: in order': (answers) =>
        answers.map((answer) => answer.inferResponse.id).join() === 'stream-0,stream-1',
      'stream: no error': (answers) => answers.every((answer) => !answer.errorMessage),
    });
  });
  stream.write(request('stream-0'));
  stream.write(request('stream-1'));
  stream.end();
}
