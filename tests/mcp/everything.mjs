// A conformant MCP server of 2025-11-25 and 2026-07-28 (official SDK): all that the conformance suite asks a server for.
// It does not know whether a client or the gateway asks.
//
// Its packages are where the installer of `cargo xtask` put them: MCP_PEERS=DIR node everything.mjs PORT

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(process.env.MCP_PEERS + '/');
const mcp = require('@modelcontextprotocol/server');
const node = require('@modelcontextprotocol/node');
const { inputRequired, acceptedContent, inputResponse } = mcp;

const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const SILENCE = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';

const text = text => ({ type: 'text', text });
const image = { type: 'image', data: PIXEL, mimeType: 'image/png' };
const pause = () => new Promise(done => setTimeout(done, 50));
const object = (properties, required = Object.keys(properties)) => ({ type: 'object', properties, required });
const string = { type: 'string' };
const titled = pairs => pairs.map(([value, title]) => ({ const: value, title }));

const states = mcp.createRequestStateCodec({ key: 'a key that is known to everybody who can read this file' });

const DEFAULTS = object({
  name: { type: 'string', default: 'John Doe' },
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', default: true },
}, []);

const options = ['option1', 'option2', 'option3'];
const ENUMS = object({
  untitledSingle: { type: 'string', enum: options },
  titledSingle: { type: 'string', oneOf: titled([['value1', 'First Option'], ['value2', 'Second Option'], ['value3', 'Third Option']]) },
  legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
  untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
  titledMulti: { type: 'array', items: { anyOf: titled([['value1', 'First Choice'], ['value2', 'Second Choice'], ['value3', 'Third Choice']]) } },
}, []);

const SCHEMA_2020 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: string, city: string } } },
  properties: {
    name: string,
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: string,
    email: string,
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};

const elicit = (message, requestedSchema) => inputRequired.elicit({ message, requestedSchema });
const sample = (question, maxTokens) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens });
const answer = (context, key) => inputResponse(context.mcpReq.inputResponses, key);
const said = (context, key) => acceptedContent(context.mcpReq.inputResponses, key);
const done = line => ({ content: [text(line)] });
const ask = inputRequests => inputRequired({ inputRequests });

// What is asked in one round, and what comes of the answers: by either revision, the SDK knows how.
function asking(key, request, finish) {
  return (args, context) => {
    const view = answer(context, key);
    const isRight = view.kind !== 'missing' && (view.kind !== 'elicit' || view.action !== 'accept' || view.content);
    return isRight ? finish(view) : ask({ [key]: request(args) });
  };
}

const elicited = what => view => done(`${what}: action=${view.action}, content=${JSON.stringify(view.content ?? {})}`);

async function rounds(args, context) {
  const state = context.mcpReq.requestState();
  const again = async (step, key, question, field) =>
    inputRequired({
      inputRequests: { [key]: elicit(question, object({ [field]: string })) },
      requestState: await states.mint({ step }),
    });
  if (state?.step === 2 && said(context, 'step2')) return done('Both steps are done.');
  if (state?.step === 1 && said(context, 'step1')) return again(2, 'step2', 'Step 2: What is your favorite color?', 'color');
  return again(1, 'step1', 'Step 1: What is your name?', 'name');
}

async function confirmed(args, context) {
  if (context.mcpReq.requestState() && said(context, 'confirm')) return done('state-ok');
  return inputRequired({
    inputRequests: { confirm: elicit('Please confirm', object({ ok: { type: 'boolean' } })) },
    requestState: await states.mint({ asked: 'confirm' }),
  });
}

async function several(args, context) {
  const keys = ['user_name', 'greeting', 'client_roots'];
  if (keys.every(key => answer(context, key).kind !== 'missing')) return done('All three were answered.');
  return inputRequired({
    inputRequests: {
      user_name: elicit('What is your name?', object({ name: string })),
      greeting: sample('Generate a greeting', 50),
      client_roots: inputRequired.listRoots(),
    },
    requestState: await states.mint({ asked: keys }),
  });
}

function declared(context) {
  return context.mcpReq.envelope?.[mcp.CLIENT_CAPABILITIES_META_KEY] ?? {};
}

function byCapabilities(args, context) {
  if (answer(context, 'question').kind !== 'missing') return done('It was answered.');
  const can = declared(context);
  if (can.elicitation) return ask({ question: elicit('Which way?', object({ way: string })) });
  if (can.sampling) return ask({ question: sample('Which way?', 50) });
  return done('Nobody can be asked.');
}

function samplingNeeded(args, context) {
  if (declared(context).sampling) return done('The client can sample.');
  throw new mcp.MissingRequiredClientCapabilityError({ requiredCapabilities: { sampling: {} } });
}

async function progress(args, context) {
  const token = context.mcpReq._meta?.progressToken;
  for (const part of [0, 50, 100]) {
    if (part) await pause();
    const params = { progressToken: token, progress: part, total: 100, message: `${part} of 100` };
    if (token !== undefined) await context.mcpReq.notify({ method: 'notifications/progress', params });
  }
  return done('It took its time.');
}

async function logging(args, context) {
  for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
    await context.mcpReq.log('info', line);
    if (!line.endsWith('completed')) await pause();
  }
  return done('It was logged.');
}

const userName = asking('user_name', () => elicit('What is your name?', object({ name: string })), view =>
  typeof view.content?.name === 'string' ? done(`Hello, ${view.content.name}!`) : done('Hello, nobody!'));

const embedded = (uri, mimeType, content) => ({ type: 'resource', resource: { uri, mimeType, text: content } });

// One tool comes and goes: the gateway tells of a change only where there is one.
const changeTools = () => {
  if (TOOLS.test_now_and_then) delete TOOLS.test_now_and_then;
  else TOOLS.test_now_and_then = ['Comes and goes', object({}), () => done('It is there.')];
  modern.notify.toolsChanged();
  return done('told');
};

// Name → [what it is for, the schema of its arguments, what it does]
const TOOLS = {
  test_simple_text: ['A line of text', object({}), () => done('This is a simple text response for testing.')],
  test_image_content: ['A picture', object({}), () => ({ content: [image] })],
  test_audio_content: ['A sound', object({}), () => ({ content: [{ type: 'audio', data: SILENCE, mimeType: 'audio/wav' }] })],
  test_embedded_resource: ['A resource in the answer', object({}), () => ({
    content: [embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')],
  })],
  test_multiple_content_types: ['Text, a picture and a resource', object({}), () => ({
    content: [
      text('Multiple content types test:'),
      image,
      embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ],
  })],
  test_error_handling: ['Always fails', object({}), () => ({
    isError: true,
    content: [text('This tool intentionally returns an error for testing')],
  })],
  test_tool_with_logging: ['Logs three lines', object({}), logging],
  test_logging_tool: ['Logs three lines', object({}), logging],
  test_tool_with_progress: ['Tells how far it is', object({}), progress],
  test_sampling: ['Asks the model', object({ prompt: string }),
    asking('sampled', args => sample(args.prompt, 100), view => done(`LLM response: ${view.result.content.text}`))],
  test_elicitation: ['Asks the person', object({ message: string }),
    asking('asked', args => elicit(args.message, object({ username: string, email: string })), elicited('User response'))],
  test_elicitation_sep1034_defaults: ['Asks with defaults', object({}),
    asking('asked', () => elicit('Please look over these', DEFAULTS), elicited('Elicitation completed'))],
  test_elicitation_sep1330_enums: ['Asks for choices', object({}),
    asking('asked', () => elicit('Please choose', ENUMS), elicited('Elicitation completed'))],
  test_streaming_elicitation: ['Tells and asks', object({}), userName],
  test_input_required_result_elicitation: ['Asks for a name', object({}), userName],
  test_input_required_result_sampling: ['Asks the model about France', object({}),
    asking('capital_question', () => sample('What is the capital of France?', 100), view => done(view.result.content.text))],
  test_input_required_result_list_roots: ['Asks for the roots', object({}),
    asking('client_roots', () => inputRequired.listRoots(), view => done(view.roots.map(root => root.uri).join(' ')))],
  test_input_required_result_request_state: ['Asks, and keeps a state', object({}), confirmed],
  test_input_required_result_tampered_state: ['Asks, and trusts no state', object({}), confirmed],
  test_input_required_result_multiple_inputs: ['Asks three things at once', object({}), several],
  test_input_required_result_multi_round: ['Asks twice', object({}), rounds],
  test_input_required_result_capabilities: ['Asks whoever can be asked', object({}), byCapabilities],
  test_missing_capability: ['Needs a client that samples', object({}), samplingNeeded],
  test_trigger_tool_change: ['Changes the tools and says so', object({}), changeTools],
  test_trigger_prompt_change: ['Says that the prompts have changed', object({}), () => (modern.notify.promptsChanged(), done('told'))],
  test_reconnection: ['Takes its time', object({}), async () => (await pause(), done('It was reached.'))],
  json_schema_2020_12_tool: ['Tool with JSON Schema 2020-12 features', SCHEMA_2020, args => done(`Hello, ${args.name}!`)],
};

const user = content => ({ role: 'user', content });
const argument = name => ({ name, description: `The argument ${name}`, required: true });

// Name → [what it is for, its arguments, its messages]
const PROMPTS = {
  test_simple_prompt: ['A simple prompt', [], () => [user(text('This is a simple prompt for testing.'))]],
  test_prompt_with_arguments: ['A prompt with arguments', [argument('arg1'), argument('arg2')],
    ({ arg1, arg2 }) => [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))]],
  test_prompt_with_embedded_resource: ['A prompt with a resource', [argument('resourceUri')], ({ resourceUri }) => [
    user(embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.')),
    user(text('Please process the embedded resource above.')),
  ]],
  test_prompt_with_image: ['A prompt with a picture', [], () => [user(image), user(text('Please analyze the image above.'))]],
  test_input_required_result_prompt: ['A prompt that asks first', [], (args, context) => {
    const given = said(context, 'user_context');
    if (given) return [user(text(`The context is: ${given.context}`))];
    return ask({ user_context: elicit('What context should the prompt use?', object({ context: string })) });
  }],
};

const RESOURCES = {
  'test://static-text': { mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
  'test://static-binary': { mimeType: 'image/png', blob: PIXEL },
  'test://watched-resource': { mimeType: 'text/plain', text: 'This is watched.' },
};

function read(uri) {
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  const found = id
    ? { mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }
    : RESOURCES[uri];
  if (!found) throw new mcp.ProtocolError(-32602, 'Resource not found', { uri });
  return { contents: [{ uri, ...found }] };
}

function known(table, name, what) {
  const found = Object.hasOwn(table, name) && table[name];
  if (!found) throw new mcp.ProtocolError(-32602, `Unknown ${what}: ${name}`);
  return found;
}

// One per session under 2025-11-25, one per request under 2026-07-28.
function serve(context) {
  const server = new mcp.Server(
    { name: 'fanout-everything', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: states.verify },
    },
  );
  const list = (table, shape) => Object.entries(table).map(([name, [description, more]]) => ({ name, description, ...shape(more) }));
  server.setRequestHandler('tools/list', () => ({ tools: list(TOOLS, inputSchema => ({ inputSchema })) }));
  server.setRequestHandler('tools/call', ({ params }, context) =>
    known(TOOLS, params.name, 'tool')[2](params.arguments ?? {}, context));
  server.setRequestHandler('prompts/list', () => ({ prompts: list(PROMPTS, args => ({ arguments: args })) }));
  server.setRequestHandler('prompts/get', async ({ params }, context) => {
    const messages = await known(PROMPTS, params.name, 'prompt')[2](params.arguments ?? {}, context);
    return Array.isArray(messages) ? { messages } : messages;
  });
  server.setRequestHandler('resources/list', () => ({
    resources: Object.entries(RESOURCES).map(([uri, { mimeType }]) => ({ uri, name: uri, description: `The resource ${uri}`, mimeType })),
  }));
  server.setRequestHandler('resources/templates/list', () => ({
    resourceTemplates: [{ uriTemplate: 'test://template/{id}/data', name: 'template', description: 'By id', mimeType: 'application/json' }],
  }));
  server.setRequestHandler('resources/read', ({ params }) => read(params.uri));
  server.setRequestHandler('completion/complete', ({ params }) => {
    const values = ['paris', 'park', 'party'].filter(value => value.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
  if (context.era === 'legacy') {
    server.setRequestHandler('resources/subscribe', () => ({}));
    server.setRequestHandler('resources/unsubscribe', () => ({}));
  }
  return server;
}

const modern = mcp.createMcpHandler(serve, { legacy: 'reject' });
const answerModern = node.toNodeHandler(modern);
const sessions = new Map();

async function answerLegacy(request, response, body) {
  const id = request.headers['mcp-session-id'];
  let transport = sessions.get(id);
  if (!transport) {
    transport = new node.NodeStreamableHTTPServerTransport({
      sessionIdGenerator: id ? undefined : randomUUID,
      onsessioninitialized: id => sessions.set(id, transport),
      onsessionclosed: id => sessions.delete(id),
    });
    if (id) return response.writeHead(404).end();
    await serve({ era: 'legacy' }).connect(transport);
  }
  await transport.handleRequest(request, response, body);
}

const hostIsLocal = node.localhostHostValidation();
const originIsLocal = node.localhostOriginValidation();

const listener = createServer(async (request, response) => {
  if (!hostIsLocal(request, response) || !originIsLocal(request, response)) return;
  try {
    if (request.method !== 'POST') return await answerLegacy(request, response);
    const chunks = await request.toArray();
    const body = JSON.parse(Buffer.concat(chunks).toString());
    const isLegacy = await mcp.isLegacyRequest(await node.toWebRequest(request, body));
    await (isLegacy ? answerLegacy : answerModern)(request, response, body);
  } catch (error) {
    if (!response.headersSent) response.writeHead(500).end(String(error));
  }
});

listener.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => console.log(listener.address().port));
