// simcloud.v1's frame stream: open, then frames as far as credit goes, an answer for each.
import encoding from 'k6/encoding';
import grpc from 'k6/net/grpc';
import { check } from 'k6';

import { MODEL, exchange } from './router.js';

const INFER = 'simcloud.v1.InferenceRouterService/Infer';
const PICTURE = encoding.b64encode(open(__ENV.PICTURE || '../../../docs/images/showroom.jpg', 'b'));
const MEDIA_TYPE = 'image/jpeg';
// A plain number in a message; k6's own constants are objects, equal to what it says itself alone.
const INVALID_ARGUMENT = 3;
export const FRAMES = 12;

// Asked once a run: what is wrong with a frame is its answer, what is wrong with a stream ends it.
export async function refused() {
  const unknown = await exchange(INFER, (stream) =>
    stream.write({ open: { model: 'no-such-model' } }),
  );
  check(unknown, {
    'Infer with an unknown model: ends with NOT_FOUND': (it) =>
      it.messages.length === 0 && it.error?.code === grpc.StatusNotFound,
    'Infer with an unknown model: its message': (it) =>
      it.error?.message.startsWith("there is no model 'no-such-model'; the catalogue has: "),
  });
  const mixed = await sent({ model: MODEL }, [
    frame('broken', encoding.b64encode('no picture')),
    frame('whole', PICTURE),
  ]);
  check(mixed, {
    'Infer with a broken frame: ends with OK': (it) => it.error === null,
    'Infer with a broken frame: INVALID_ARGUMENT, and why': (it) =>
      it.answers[0]?.code === INVALID_ARGUMENT &&
      it.answers[0].reason === 'INVALID_REQUEST' &&
      it.answers[0].message.includes('neither JPEG nor PNG'),
    'Infer with a broken frame: the next is answered': (it) => isAnswer(it.answers[1], 'whole'),
  });
}

// FRAMES pictures on a stream. How many answers were right: all that were sent, or none.
export function ordered(id) {
  return looked('frames', id, { model: MODEL }, (ids) => ids);
}

// The same, answered as they finish.
export function unordered(id) {
  return looked('unordered frames', id, { model: MODEL, unordered: true }, (ids) => ids.sort());
}

async function looked(way, id, opened, order) {
  const ids = Array.from({ length: FRAMES }, (_, place) => `${id}-${String(place).padStart(2, '0')}`);
  const seen = await sent(opened, ids.map((each) => frame(each, PICTURE)));
  const right = check(seen, {
    [`${way}: ends with OK`]: (it) => it.error === null,
    [`${way}: opened, then credit`]: (it) => it.messages[0]?.opened && it.messages[1]?.credit,
    [`${way}: as many answers as frames`]: (it) => it.answers.length === FRAMES,
    [`${way}: each of them once`]: (it) =>
      order(it.answers.map((answer) => answer.id)).join() === ids.join(),
    [`${way}: each right`]: (it) => it.answers.every((answer) => isAnswer(answer, answer.id)),
    // Each answer earns a frame, so that a stream could go on without an end.
    [`${way}: credit for more`]: (it) => it.granted >= FRAMES,
  });
  return right ? FRAMES : 0;
}

// A stream of these frames, sent as the credit allows, with what was granted and answered in the end.
async function sent(opened, frames) {
  let granted = 0;
  let next = 0;
  const seen = await exchange(
    INFER,
    (stream) => stream.write({ open: opened }),
    (stream, message) => {
      granted = Number(message.credit ? message.credit.grantedFrames : granted);
      while (next < Math.min(frames.length, granted)) {
        stream.write(frames[next]);
        next += 1;
        if (next === frames.length) {
          stream.end();
        }
      }
    },
  );
  const answers = seen.messages.map((message) => message.answer).filter((answer) => answer);
  return { ...seen, granted, answers };
}

function frame(id, data) {
  return { frame: { id, inline: { media_type: MEDIA_TYPE, data } } };
}

// On streams k6 leaves out what is zero: an OK answer has no `code`.
function isAnswer(answer, id) {
  return (
    answer !== undefined &&
    !answer.code &&
    answer.id === id &&
    JSON.parse(encoding.b64decode(answer.body, 'std', 's')).model === MODEL
  );
}
