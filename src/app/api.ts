/** The role api: inference, the customers' console, and the HTTP server before them. */
import { type Config, ConfigError } from '../config.ts'
import { roleLog } from '../http/logging.ts'
import type { Watched } from '../http/operations.ts'
import { buildServer } from '../http/server.ts'
import { chooseSet } from '../inference/choose-set.ts'
import { type Inference, startInference } from '../inference/inference.ts'
import { loadManifest } from '../inference/manifest.ts'
import { openConsole } from './console.ts'
import type { Foundation, Start } from './foundation.ts'
import { httpDependencies } from './http.ts'
import { listen } from './listen.ts'
import { marketplacePages } from './marketplace.ts'
import type { Workers } from './workers.ts'

/** Before anything is started for it. @throws ConfigError */
export async function refuseUnknownModelSet({ MODEL_SET: wanted }: Pick<Config, 'MODEL_SET'>): Promise<void> {
  const known = Object.keys((await loadManifest()).sets)
  if (wanted === undefined || known.includes(wanted)) return
  throw new ConfigError(`MODEL_SET must be one of ${known.join(', ')}, but is "${wanted}".`)
}

export interface Api {
  readonly url: string
  readonly modelSet: Inference['set']
  readonly watched: Watched
}

/**
 * @param watch makes the operators' view of the process, this inference included
 * @throws ConfigError, WeightsMissing, WeightsCorrupt, WeightsUnreadable, ManifestError
 */
export async function startApi(
  { config, roles, undo, log }: Start,
  { stack, system, mail, secretsKeys, auditSigningKey }: Foundation,
  { marketplace }: Workers,
  watch: (inference: Inference) => Watched,
): Promise<Api> {
  const apiLog = roleLog(log, 'api')
  const inference = await startInference({
    modelsDir: config.MODELS_DIR,
    set: await chooseSet({
      manifest: await loadManifest(),
      wanted: config.MODEL_SET,
      modelsDir: config.MODELS_DIR,
      dataDir: config.DATA_DIR,
      say: (sentence, level) => roleLog(log, roles)[level](sentence),
    }),
    spoofThreshold: config.SPOOF_THRESHOLD,
  })
  undo.add('inference', () => inference.close())
  const { eventStoreUrl } = stack
  const pages = openConsole({ config, system, mail, secretsKeys, auditSigningKey, eventStoreUrl, log: apiLog })
  undo.add('console', () => pages.close())
  const landing = marketplacePages({ config, system, marketplace, mail, secretsKeys })
  const watched = watch(inference)
  const parts = { config, system, inference, watched, secretsKeys, log: apiLog }
  const http = await buildServer(httpDependencies({ ...parts, console: pages.deps, marketplace: landing }))
  undo.add('HTTP', () => http.drainAndClose())
  if (config.PORT === 0 && config.PUBLIC_URL === undefined) {
    apiLog.warn('PORT is 0 and PUBLIC_URL is not set: links in letters lead nowhere')
  }
  const url = await listen(http.app, { host: config.HOST, port: config.PORT }, 'PORT')
  return { url, modelSet: inference.set, watched }
}
