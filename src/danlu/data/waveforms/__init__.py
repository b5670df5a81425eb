"""Waveforms: WAV files as windows of one length."""
