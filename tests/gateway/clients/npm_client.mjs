// Pushes with the npm package "ollama": node npm_client.mjs HOST MODEL [MODEL WITHOUT STREAM]
import { Ollama } from 'ollama'

const [host, streamed, atOnce] = process.argv.slice(2)
const ollama = new Ollama({ host })
for await (const part of await ollama.push({ model: streamed, stream: true })) {
  console.log(part.status)
}
console.log((await ollama.push({ model: atOnce, stream: false })).status)
