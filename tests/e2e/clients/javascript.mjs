// Scenarios with `replicate` 1.x for JavaScript: `node javascript.mjs SCENARIO JSON` prints one JSON result.
// CLIENT_HOME is the directory whose node_modules has the client.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const Replicate = createRequire(`${process.env.CLIENT_HOME}/`)("replicate");
const replicate = new Replicate({ baseUrl: `${process.env.REPLICATE_BASE_URL}/v1` });
const WITHIN_MS = 60_000;

const scenarios = {
  text: ({ model, given }) => replicate.run(model, { input: given }),

  async file_of({ model, url }) {
    const output = await replicate.run(model, { input: { image: url } });
    const bytes = Buffer.from(await (await output.blob()).arrayBuffer());
    return { type: output.constructor.name, content: bytes.toString("base64") };
  },

  async file({ model, path }) {
    const output = await replicate.run(model, { input: { image: await readFile(path) } });
    const bytes = Buffer.from(await (await output.blob()).arrayBuffer());
    return { type: output.constructor.name, content: bytes.toString("base64") };
  },

  async stream({ model, given }) {
    const events = [];
    let seen = null;
    for await (const { event, data } of replicate.stream(model, { input: given })) {
      events.push([event, data]);
      seen ??= (await replicate.predictions.list()).results[0].status;
    }
    return { events, status_at_first: seen };
  },

  async stream_files({ model, given }) {
    const files = [];
    for await (const { event, data } of replicate.stream(model, { input: given })) {
      if (event === "output") files.push({ type: data.constructor.name, text: await (await data.blob()).text() });
    }
    return files;
  },

  async poll({ model, given }) {
    const prediction = await replicate.predictions.create({ model, input: given });
    const { status, output, metrics } = await replicate.wait(prediction);
    return { first: prediction.status, status, output, metrics };
  },

  async cancel({ model, given }) {
    let prediction = await replicate.predictions.create({ model, input: given });
    const deadline = Date.now() + WITHIN_MS;
    while (prediction.status === "starting" && Date.now() < deadline) {
      await sleep(100);
      prediction = await replicate.predictions.get(prediction.id);
    }
    const canceled = await replicate.predictions.cancel(prediction.id);
    const later = await replicate.predictions.get(prediction.id);
    return { before: prediction.status, after: canceled.status, later: later.status };
  },

  async pages() {
    const ids = [];
    for await (const page of replicate.paginate(replicate.predictions.list)) {
      ids.push(page.map(({ id }) => id));
    }
    return ids;
  },

  async webhook({ model, given, url }) {
    const wanted = { model, input: given, webhook: url, webhook_events_filter: ["completed"] };
    return (await replicate.predictions.create(wanted)).id;
  },

  async validate({ headers, body }) {
    const { key } = await replicate.webhooks.default.secret.get();
    return Replicate.validateWebhook({ headers, body }, key);
  },

  async error({ model, given }) {
    try {
      await replicate.run(model, { input: given });
    } catch (error) {
      return { type: error.name, status: error.response.status, message: error.message };
    }
    return null;
  },

  async train({ model, path, given, destination, then }) {
    const [owner, name] = destination.split("/");
    await replicate.models.create(owner, name, { visibility: "private", hardware: "cpu" });
    const version = (await replicate.models.get(...model.split("/"))).latest_version.id;
    const file = await replicate.files.create(new File([await readFile(path)], basename(path)));
    const input = { text: file.urls.get, ...given };
    let training = await replicate.trainings.create(...model.split("/"), version, { destination, input });
    while (!["succeeded", "failed", "canceled"].includes(training.status)) {
      await sleep(200);
      training = await replicate.trainings.get(training.id);
    }
    const { status, output, logs, error } = training;
    const latest = (await replicate.models.get(owner, name)).latest_version?.id ?? null;
    const said = status === "succeeded" ? await replicate.run(destination, { input: then }) : null;
    return { status, output, logs, error, latest, then: said };
  },
};

const [, , scenario, parameters] = process.argv;
console.log(JSON.stringify(await scenarios[scenario](JSON.parse(parameters))));
