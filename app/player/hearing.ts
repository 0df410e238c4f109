// Which channel is heard. Only once one is chosen does the sound take the way through the audio graph.

export class Hearing {
  private context: AudioContext | null = null;
  private source: MediaElementAudioSourceNode | null = null;
  private splitter: ChannelSplitterNode | null = null;

  constructor(private readonly audio: HTMLAudioElement) {}

  /** Hear one channel on both ears, "0", "1" …, or all, "". */
  choose(channel: string, nChannels: number): void {
    if (!channel && !this.context) return;
    this.context ??= new AudioContext();
    this.source ??= this.context.createMediaElementSource(this.audio);
    void this.context.resume();
    this.source.disconnect();
    this.splitter?.disconnect();
    if (!channel) {
      this.source.connect(this.context.destination);
      return;
    }
    this.splitter = this.context.createChannelSplitter(nChannels);
    this.source.connect(this.splitter);
    this.splitter.connect(this.context.destination, Number(channel));
  }

  close(): void {
    void this.context?.close();
  }
}
