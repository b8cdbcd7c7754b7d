/** The second verifier, in Python, over bundles in memory. */
import { execFile } from 'node:child_process'
import type { KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Anchor } from '../../src/audit/anchor.ts'

const run = promisify(execFile)
const script = fileURLToPath(new URL('verify_bundle.py', import.meta.url))
/** An interpreter that has `cryptography`. */
const python = process.env.AUDIT_PYTHON ?? 'python3'

/** Whether the verifier can run here; says aloud when not. */
export async function havePython(): Promise<boolean> {
  try {
    await run(python, ['-c', 'import cryptography'])
    return true
  } catch {
    console.warn('SKIPPED: the Python verifier needs python3 with the package cryptography')
    return false
  }
}

/** Differences of each bundle, in their order. */
export async function verifyByPython(
  keys: readonly KeyObject[],
  bundles: readonly Buffer[],
  anchors: readonly Anchor[] = [],
): Promise<string[][]> {
  const folder = mkdtempSync(join(tmpdir(), 'liveness-bundles-'))
  const write = (name: string, content: Buffer | string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  try {
    const pems = keys.flatMap((key, i) => ['--key', write(`key-${i}.pem`, key.export({ type: 'spki', format: 'pem' }))])
    const kept = anchors.flatMap((anchor, i) => ['--anchor', write(`anchor-${i}`, JSON.stringify(anchor))])
    const paths = bundles.map((bundle, i) => write(`bundle-${i}`, bundle))
    const { stdout, code } = await run(python, [script, ...pems, ...kept, ...paths], { maxBuffer: 1 << 28 }).then(
      ({ stdout }) => ({ stdout, code: 0 }),
      (error: { stdout: string; stderr: string; code: number }) => {
        if (error.stderr !== '') throw new Error(error.stderr)
        return error
      },
    )
    const found = new Map(paths.map((path) => [path, [] as string[]]))
    let current: string[] | undefined
    for (const line of stdout.split('\n')) {
      if (line.startsWith('  ')) current?.push(line.trim())
      else current = found.get(line.split(' ')[0] ?? '')
    }
    const differences = [...found.values()]
    if ((code === 0) !== differences.every((one) => one.length === 0)) throw new Error(`exit code ${code}: ${stdout}`)
    return differences
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
