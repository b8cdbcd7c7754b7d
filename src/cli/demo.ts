import { statSync } from 'node:fs'
import type { Command } from 'commander'
import { type Config, loadConfig } from '../config.ts'
import { createLogger } from '../http/logging.ts'
import { hasHome } from '../postgres/home.ts'
import { CommandError } from './output.ts'
import { openWritable } from './writable-folder.ts'

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description(
      'the whole job at once: start embedded, check photographs over HTTP, show verdict, log and usage, stop',
    )
    .argument('<photo...>', 'JPEG or PNG files')
    .option('--into <folder>', 'where the copies with the face framed go', '.')
    .option('--keep', 'keep customer and log in DATA_DIR, a new installation; otherwise in a temporary folder')
    .action(async (photographs: string[], { into, keep = false }: { into: string; keep?: boolean }) => {
      refuseWhatCannotBeRead(photographs)
      await openWritable(into)
      const loaded = loadConfig()
      if (keep) refuseInstallation(loaded.config)
      const { LOG_LEVEL: level } = loaded.config
      const log = createLogger(level === 'info' ? 'warn' : level, process.stderr)
      const stop = new AbortController()
      const onSignal = (signal: NodeJS.Signals) => {
        if (stop.signal.aborted) process.exit(1)
        stop.abort(new CommandError(`Stopped by ${signal}.`))
      }
      process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
      try {
        // Loaded here: other commands need neither the models' runtime nor the HTTP server.
        const { demonstrate } = await import('../demo/demo.ts')
        await demonstrate(loaded, { photographs, into, keep, log, signal: stop.signal })
      } finally {
        process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
      }
    })
}

/** Its hours would be sealed while METERING_SUBMIT is off, and so never be sent. */
function refuseInstallation({ DATA_DIR: dataDir }: Config): void {
  if (!hasHome(dataDir)) return
  throw new CommandError(
    `DATA_DIR ${dataDir} holds an installation already, and the demonstration does not run with its settings. Leave ` +
      '--keep out, or set DATA_DIR to a new folder.',
  )
}

/** Before anything is started for them. */
function refuseWhatCannotBeRead(photographs: readonly string[]): void {
  for (const photograph of photographs) {
    if (!statSync(photograph, { throwIfNoEntry: false })?.isFile()) {
      throw new CommandError(`There is no file ${photograph}.`)
    }
  }
}
