import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { refuseUnusableModelsDir } from '../app/models-dir.ts'
import { loadConfig } from '../config.ts'
import { bestPresent, shortcomingsOf } from '../inference/choose-set.ts'
import { downloadWeights } from '../inference/download.ts'
import { loadManifest, modelsOf, resolveSet } from '../inference/manifest.ts'
import { inspectWeights, packagedModels } from '../inference/weights.ts'
import { CommandError, print, printJson, printTable } from './output.ts'
import { openWritable } from './writable-folder.ts'

export function addModelCommands(program: Command): void {
  const models = program.command('models').description('the weights of the face detector and the classifiers')

  models
    .command('list')
    .description('every model of the manifest: the sets it belongs to, licence, and whether its weights are here')
    .option('--json', 'one JSON object a line')
    .action(async ({ json }: { json?: true }) => {
      const { config } = loadConfig()
      await refuseUnusableModelsDir(config)
      const manifest = await loadManifest()
      const rows = []
      for (const [name, model] of Object.entries(manifest.models)) {
        const sets = Object.keys(manifest.sets).filter((set) => modelsOf(resolveSet(manifest, set)).includes(model))
        const { state } = await inspectWeights(model, config.MODELS_DIR)
        const { file, licence, kind, url } = model
        rows.push({ name, kind, sets, file, licence, weights: state, downloadable: url !== undefined })
      }
      if (json) return rows.forEach(printJson)
      printTable(
        ['MODEL', 'KIND', 'SETS', 'LICENCE', 'WEIGHTS', 'FILE'],
        rows.map(({ name, kind, sets, licence, weights, file }) => [
          name,
          kind,
          sets.join(' '),
          licence,
          weights,
          file,
        ]),
      )
    })

  models
    .command('verify')
    .description(
      "compare the weights of the set that runs (MODEL_SET, else the best one here) with the manifest's checksums",
    )
    .option('--json', 'one JSON object a line')
    .action(async ({ json }: { json?: true }) => {
      const { config } = loadConfig()
      await refuseUnusableModelsDir(config)
      let wrong = 0
      const manifest = await loadManifest()
      const set =
        config.MODEL_SET === undefined
          ? await bestPresent(manifest, config.MODELS_DIR)
          : resolveSet(manifest, config.MODEL_SET)
      if (!json) print(`Model set ${set.name} ${set.version}`)
      for (const model of modelsOf(set)) {
        const found = await inspectWeights(model, config.MODELS_DIR)
        if (found.state !== 'present') wrong += 1
        if (json) printJson({ set: set.name, file: model.file, ...found })
        else print(`${found.state.padEnd(10)} ${found.state === 'missing' ? model.file : found.path}`)
      }
      if (wrong > 0)
        throw new CommandError(`${wrong} of the weights of set ${set.name} are missing, corrupt or unreadable.`)
      const [best] = manifest.preferred
      if (config.MODEL_SET !== undefined || set.name === best) return
      const shortcomings = await shortcomingsOf(resolveSet(manifest, best), config.MODELS_DIR)
      if (shortcomings !== undefined) process.stderr.write(`The preferred set ${best} ${shortcomings}.\n`)
    })

  models
    .command('download')
    .description('fetch the weights that are not here, of MODEL_SET, else of the best set; continues where it stopped')
    .option('--into <folder>', 'default: MODELS_DIR, else models/ of the package')
    .action(async ({ into }: { into?: string }) => {
      const { config } = loadConfig()
      if (into === undefined) await refuseUnusableModelsDir(config, { mayBeMade: true })
      const folder = into ?? config.MODELS_DIR ?? packagedModels
      await openWritable(folder)
      const bars = new Map<string, SingleBar>()
      const onProgress = (file: string, bytes: number, total: number) => {
        let bar = bars.get(file)
        if (bar === undefined) {
          bar = new SingleBar({ format: '{filename} [{bar}] {percentage}% of {total} bytes', noTTYOutput: true })
          bars.set(file, bar)
          bar.start(total, bytes, { filename: file })
        }
        bar.update(bytes)
        if (bytes >= total) bar.stop()
      }
      const manifest = await loadManifest()
      const outcomes = await downloadWeights({
        models: modelsOf(resolveSet(manifest, config.MODEL_SET ?? manifest.preferred[0])),
        into: folder,
        onProgress,
      }).finally(() => {
        for (const bar of bars.values()) bar.stop()
      })
      for (const one of outcomes) {
        print(`${one.file}: ${one.outcome}${one.outcome === 'not downloadable' ? `. ${one.reason}` : ''}`)
      }
      const without = outcomes.filter(({ outcome }) => outcome === 'not downloadable').length
      if (without > 0) throw new CommandError(`${without} of the files must be put into MODELS_DIR by hand.`)
    })
}
