/**
 * ONNX Runtime reports to Microsoft by default since 1.29 (POSIX too): model and session events over HTTPS, a device
 * id and a cache below the folder for temporary files. Nothing may leave this machine unasked, so it is switched off
 * before the first session; the runtime reads the variable once, from the process's own environment.
 *
 * A worker thread has a copy of the environment that native code does not see: call this on the main thread too.
 */
export function silenceRuntime(): void {
  process.env.ORT_DISABLE_TELEMETRY = '1'
}
