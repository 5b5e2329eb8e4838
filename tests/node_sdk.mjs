// What a user of the official Node SDK does; says what came of it as one line of JSON.
import { SonioxNodeClient, SonioxHttpError } from "@soniox/node";

const client = new SonioxNodeClient();
const unknown = "00000000-0000-4000-8000-000000000000";
const wait_options = { interval_ms: 1000, timeout_ms: 20000 };
const said = {};

async function refused(call) {
  try {
    await call();
  } catch (error) {
    const body = error.bodyText ? JSON.parse(error.bodyText) : {};
    return [error instanceof SonioxHttpError, error.code, error.statusCode, body.error_type];
  }
  return "nothing";
}

const file = await client.files.upload(Buffer.from("some audio"), {
  filename: "ein Gespräch.wav",
  client_reference_id: "mine",
});
said.file = [file.filename, file.size, file.client_reference_id];

const job = await client.stt.create({
  model: "stt-async-v4",
  file_id: file.id,
  language_hints: ["en"],
  enable_speaker_diarization: true,
  translation: { type: "one_way", target_language: "de" },
  context: { general: [{ key: "topic", value: "fjords" }], terms: ["fjord"] },
  client_reference_id: "mine",
});
said.created = [job.status, job.model, job.client_reference_id];
said.early = await refused(() => client.stt.getTranscript(job.id));
const done = await client.stt.wait(job.id, wait_options);
const transcript = await client.stt.getTranscript(job.id);
said.done = [done.status, transcript.text, [...new Set(transcript.tokens.map((token) => token.speaker))].sort()];

const whole = await client.stt.transcribe({
  model: "stt-async-v5",
  file: Buffer.from("some audio"),
  filename: "b.wav",
  wait: true,
  wait_options,
  cleanup: ["file", "transcription"],
});
said.whole = [whole.status, whole.transcript.text];

for (let number = 0; number < 5; number++) {
  await client.files.upload(Buffer.from("x"), { filename: `${number}.wav` });
}
const names = [];
for await (const each of await client.files.list({ limit: 2 })) names.push(each.filename);
said.names = names;
const statuses = [];
for await (const each of await client.stt.list({ limit: 1 })) statuses.push(each.status);
said.statuses = statuses;
said.counts = [await client.files.count(), await client.stt.count()];

said.unknown = [await client.files.get(unknown), await client.stt.get(unknown)];
await client.files.delete(unknown);
said.invalid = await refused(() => client.stt.create({ model: "stt-rt-v5", file_id: file.id }));
said.wrong = await refused(() =>
  new SonioxNodeClient({ api_key: "wrong", base_url: process.env.SONIOX_API_BASE_URL }).files.list(),
);
said.models = (await client.models.list()).map((model) => model.id).includes("stt-async-v5");

await client.stt.delete_all();
await client.files.delete_all();
said.left = [(await client.files.count()).total, (await client.stt.count()).total];
console.log(JSON.stringify(said));
