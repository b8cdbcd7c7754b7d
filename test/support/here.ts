/** The command `liveness` in this process: a start of Node and of everything it loads costs a second each. */
import { Command } from 'commander'
import { vi } from 'vitest'

export interface Outcome {
  readonly printed: string
  /** The message that it ends with where it does not end well; empty where it does. */
  readonly failure: string
}

/** @param add the commands that are called, as src/cli.ts adds them */
export const commandsHere =
  (...add: readonly ((program: Command) => void)[]) =>
  async (env: Readonly<Record<string, string>>, ...args: string[]): Promise<Outcome> => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    const program = new Command().exitOverride()
    for (const one of add) one(program)
    let printed = ''
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += text
      return true
    })
    try {
      await program.parseAsync(args, { from: 'user' })
      return { printed, failure: '' }
    } catch (error) {
      return { printed, failure: (error as Error).message }
    } finally {
      write.mockRestore()
      vi.unstubAllEnvs()
    }
  }
