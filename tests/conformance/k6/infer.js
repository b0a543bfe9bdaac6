// k6, unmodified, asks the router in every way there is, and ends badly unless all was answered right.
//
//   k6 run -e ROUTER=127.0.0.1:50053 tests/conformance/k6/infer.js
//
// WAYS (raw,typed,stream,frames,unordered) says in which, VUS (4) and ITERATIONS (40, of all of them
// together) how much: an iteration is each way once. PROTO names a folder with the contracts; without
// it they come by reflection. MODEL (nanodet-g) takes pictures; PICTURE is a JPEG of your own.
// TLS_CA, TLS_CERT and TLS_KEY are PEM files. Paths are relative to this file.
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

import { FRAMES, ordered, refused, unordered } from './frames.js';
import { STREAMED, described, rawCall, streamed, typedCall } from './oip.js';

const ALL = {
  raw: { ask: rawCall, answers: 1 },
  typed: { ask: typedCall, answers: 1 },
  stream: { ask: streamed, answers: STREAMED },
  frames: { ask: ordered, answers: FRAMES },
  unordered: { ask: unordered, answers: FRAMES },
};
const WAYS = (__ENV.WAYS || Object.keys(ALL).join()).split(',');
const unknown = WAYS.filter((way) => !ALL[way]);
if (unknown.length) {
  throw new Error(`WAYS has ${unknown.join()}: choose among ${Object.keys(ALL).join()}`);
}
const ITERATIONS = Number(__ENV.ITERATIONS || 40);

const answers = new Counter('answers');

export const options = {
  scenarios: {
    infer: {
      executor: 'shared-iterations',
      vus: Math.min(Number(__ENV.VUS || 4), ITERATIONS),
      iterations: ITERATIONS,
      // k6 would cut the run after ten minutes; every call and stream has a time of its own.
      maxDuration: '24h',
    },
  },
  thresholds: {
    checks: ['rate == 1'],
    // A rate of 1 is also what a run has that made no check: one whose router can't be reached.
    ...Object.fromEntries(
      WAYS.map((way) => [`answers{way:${way}}`, [`count == ${ITERATIONS * ALL[way].answers}`]]),
    ),
  },
};

export async function setup() {
  await refused();
  return described();
}

export default async function (outputs) {
  const iteration = exec.scenario.iterationInTest;
  for (const way of WAYS) {
    answers.add(await ALL[way].ask(`${way}-${iteration}`, outputs), { way });
  }
}
