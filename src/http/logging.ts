/** The program's logger: structured, and without secrets, whatever an error message or a URL may carry. */
import pino from 'pino'

const apiKey = /lc_[0-9A-Za-z]{29}/g
const longBase64 = /[0-9A-Za-z+/]{256,}={0,2}/g

/**
 * Nothing here logs headers or bodies. As the last guard, a line about to be written loses everything that looks like
 * an API key, or like the Base64 of an image.
 */
export function createLogger(level: string, destination?: pino.DestinationStream): pino.Logger {
  const options: pino.LoggerOptions = {
    level,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: ['headers', 'body', '*.headers', '*.body', 'image', '*.image', 'password', '*.password'],
      censor: '[redacted]',
    },
    hooks: { streamWrite: (line) => line.replace(apiKey, 'lc_[redacted]').replace(longBase64, '[redacted]') },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
