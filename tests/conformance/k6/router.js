// The router as a k6 client sees it: how it is reached, calls, and streams as promises.
import grpc from 'k6/net/grpc';

export const MODEL = __ENV.MODEL || 'nanodet-g';

// Of a connection, a call and a whole stream: what is never answered fails, and holds up no virtual user.
const TIMEOUT = __ENV.TIMEOUT || '60s';

const client = new grpc.Client();
if (__ENV.PROTO) {
  client.load([__ENV.PROTO], 'inference/grpc_service.proto', 'simcloud/v1/infer.proto');
}
// Files can be read here only, before there is a virtual user.
const tls = __ENV.TLS_CA && {
  cacerts: [open(__ENV.TLS_CA)],
  ...(__ENV.TLS_CERT && { cert: open(__ENV.TLS_CERT), key: open(__ENV.TLS_KEY) }),
};

// One a virtual user, which has its own copy of this module: a connection each.
let connected = false;

// Connects on first use: by the proto files that were named, else by the router's reflection.
function connection() {
  if (!connected) {
    client.connect(__ENV.ROUTER || '127.0.0.1:50053', {
      ...(tls ? { tls } : { plaintext: true }),
      reflect: !__ENV.PROTO,
      timeout: TIMEOUT,
    });
    connected = true;
  }
  return client;
}

// A unary call: k6's answer, with `status`, `message` and `error`.
export function invoke(method, request) {
  return connection().invoke(method, request, { timeout: TIMEOUT });
}

// A stream from its first message to its end: all that came, and the error that ended it, if one did.
// `answer` is called with the stream and each message; it may write, and ends what it has begun.
export function exchange(method, first, answer = () => {}) {
  return new Promise((resolve) => {
    const seen = { messages: [], error: null };
    const stream = new grpc.Stream(connection(), method, { timeout: TIMEOUT });
    stream.on('data', (message) => {
      seen.messages.push(message);
      answer(stream, message);
    });
    stream.on('error', (error) => {
      seen.error = error;
    });
    stream.on('end', () => resolve(seen));
    first(stream);
  });
}
