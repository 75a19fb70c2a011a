// Scenarios with the AI SDK's provider for Replicate: `node ai_sdk.mjs SCENARIO JSON` prints one JSON result.
// CLIENT_HOME is the directory whose node_modules has `ai` and `@ai-sdk/replicate`.

import { createRequire } from "node:module";

const require = createRequire(`${process.env.CLIENT_HOME}/`);
const { generateImage } = await import(require.resolve("ai"));
const { createReplicate } = await import(require.resolve("@ai-sdk/replicate"));
const apiToken = process.env.REPLICATE_API_TOKEN;

function paint({ model, base, given, options, headers, retries = 0 }) {
  const replicate = createReplicate({ apiToken, baseURL: `${base}/v1` });
  return generateImage({
    model: replicate.image(model),
    maxRetries: retries,
    providerOptions: { replicate: options ?? {} },
    headers,
    ...given,
  });
}

const scenarios = {
  async image(wanted) {
    const { images } = await paint(wanted);
    return images.map(({ base64, mediaType }) => ({ base64, type: mediaType }));
  },

  async refusal(wanted) {
    try {
      await paint(wanted);
      return null;
    } catch (error) {
      return { name: error.name, message: error.message };
    }
  },
};

const [scenario, text] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await scenarios[scenario](JSON.parse(text))));
