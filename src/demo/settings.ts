import { type Config, loadConfig } from '../config.ts'

/**
 * What the demonstration runs with: the defaults, and of the settings as they were found those alone that say how
 * photographs are judged and what is logged. Everything else may name what others share: a topic or a queue of events
 * that the demonstration must neither write nor consume, a mail server, a port, AWS's bill. Pure.
 * @param temporaryFolder undefined: DATA_DIR, a new installation that later starts with the same keys
 */
export function demoConfig(found: Config, temporaryFolder: string | undefined): Config {
  const { MODELS_DIR, MODEL_SET, SPOOF_THRESHOLD, LOG_LEVEL, DATA_DIR, SECRETS_KEY, AUDIT_SIGNING_KEY } = found
  return {
    ...loadConfig({}, null).config,
    MODELS_DIR,
    MODEL_SET,
    SPOOF_THRESHOLD,
    LOG_LEVEL,
    ...(temporaryFolder === undefined ? { DATA_DIR, SECRETS_KEY, AUDIT_SIGNING_KEY } : { DATA_DIR: temporaryFolder }),
    PORT: 0,
  }
}
