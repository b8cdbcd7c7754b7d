/** The broker's classes as a JVM has read and checked them, kept for the brokers to come: half of a start's processor time. */
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { takeLock } from './jars.ts'

/**
 * The JVM's options for them. A JVM that is another one than theirs passes them over.
 *
 * @param runOnce starts a broker with the option, and ends it when it has answered: it writes them down as it ends
 */
export async function ensureClasses(jars: string, runOnce: (option: string) => Promise<void>): Promise<string[]> {
  const file = `${jars}.jsa`
  if (!existsSync(file)) {
    const lock = await takeLock()
    try {
      if (!existsSync(file)) {
        const part = `${file}.part`
        await rm(part, { force: true })
        await runOnce(`-XX:ArchiveClassesAtExit=${part}`)
        await rename(part, file)
      }
    } finally {
      await lock.release()
    }
  }
  return [`-XX:SharedArchiveFile=${file}`]
}
