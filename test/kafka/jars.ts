/** The broker's jars, fetched by Maven once for all test runs of this clone. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/built.ts'
import { DataDirInUse, lockDataDir } from '../../src/data-dir.ts'

const run = promisify(execFile)
const pom = fileURLToPath(new URL('pom.xml', import.meta.url))
/** Git-ignored. */
export const kafkaFolder = fileURLToPath(new URL('.kafka/', packageRoot))
const fetchMs = 300_000

/** Whether a broker can be had on this machine: its jars, or the Maven to fetch them, and Java. */
export async function canRunJava(): Promise<boolean> {
  const answers = (program: string, flag: string) =>
    run(program, [flag]).then(
      () => true,
      () => false,
    )
  return (await answers('java', '-version')) && (existsSync(await jarFolder()) || (await answers('mvn', '-version')))
}

/**
 * The folder of the jars. A folder is named after its pom.xml and appears complete or not at all; spec files that
 * start at the same time take turns, so that only the first one fetches.
 */
export async function ensureJars(): Promise<string> {
  const folder = await jarFolder()
  if (existsSync(folder)) return folder
  const lock = await takeLock()
  try {
    if (existsSync(folder)) return folder
    const parts = await mkdtemp(join(kafkaFolder, 'fetching-'))
    try {
      const copy = ['dependency:copy-dependencies', `-DoutputDirectory=${parts}`]
      await run('mvn', ['-B', '-q', '-f', pom, ...copy], { timeout: fetchMs })
      await rename(parts, folder)
    } finally {
      await rm(parts, { recursive: true, force: true })
    }
    return folder
  } finally {
    await lock.release()
  }
}

async function jarFolder(): Promise<string> {
  const version = createHash('sha256')
    .update(await readFile(pom))
    .digest('hex')
  return join(kafkaFolder, `jars-${version.slice(0, 12)}`)
}

/** Spec files take turns with what is made once for all of them. */
export async function takeLock(): Promise<{ release(): Promise<void> }> {
  await mkdir(kafkaFolder, { recursive: true })
  for (;;) {
    try {
      return await lockDataDir(kafkaFolder)
    } catch (error) {
      if (!(error instanceof DataDirInUse)) throw error
      await pause(200)
    }
  }
}
