// Talks to a server with the official client as it is, and prints what came as JSON: node openai.mjs URL WHAT
import OpenAI from "openai";

const [url, what] = process.argv.slice(2);
const client = new OpenAI({baseURL: `${url}/v1`, apiKey: "none is asked for"});
const messages = [{role: "user", content: "Tell me a story."}];
const story = {model: "tiny/story", messages, temperature: 0};

async function conversation() {
    const first = await client.chat.completions.create(story);
    const answer = first.choices[0].message;
    const more = [...messages, answer, {role: "user", content: "Another one, please."}];
    const second = await client.chat.completions.create({...story, messages: more, max_completion_tokens: 4});
    return [first, second].map(({choices: [choice], usage}) => ({
        text: choice.message.content, reason: choice.finish_reason, usage,
    }));
}

async function stream() {
    const texts = [];
    let last = null;
    for await (const chunk of await client.chat.completions.create({...story, stream: true})) {
        texts.push(chunk.choices[0].delta.content ?? "");
        last = chunk;
    }
    return {text: texts.join(""), chunks: texts.length, reason: last.choices[0].finish_reason, usage: last.usage};
}

async function cancel() {
    const endless = {model: "tiny/endless", messages, temperature: 0, max_tokens: 8000, stream: true};
    const answer = await client.chat.completions.create(endless);
    let chunks = 0;
    for await (const _ of answer) {
        chunks += 1;
        if (chunks === 5) answer.controller.abort();
    }
    return {chunks};
}

async function failure() {
    try {
        await client.chat.completions.create({...story, n: 2});
    } catch (error) {
        const {status, code, param, message} = error;
        return {kind: error.constructor.name, status, code, param, message};
    }
}

console.log(JSON.stringify(await {conversation, stream, cancel, failure}[what]()));
