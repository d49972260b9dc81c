// driver.mjs: runs driver.c with an object in it: node driver.mjs ./there.exe > there.bin
import fs from 'node:fs'
const parts = []
let memory
const put = (at, bytes) => parts.push(Buffer.from(memory.buffer.slice(at, at + bytes)))
const wasm = await WebAssembly.instantiate(fs.readFileSync(process.argv[2]), {env: {put}})
memory = wasm.instance.exports.memory
const failed = wasm.instance.exports.main()
fs.writeSync(1, Buffer.concat(parts))
process.exitCode = failed
