package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/xreceiver"
	"go.uber.org/zap"
)

// A stand-in for the contrib receiver otlp_json_file, whose module needs pkg/stanza: the Go module proxy that this was
// written with does not serve pkg/stanza in the release of the other modules. It has the settings of the real one that
// docs/how-to/collector.yaml uses, with the same meaning: each line of a file is one OTLP request in JSON, files are
// followed as they grow, and what a file held at the start is read with `start_at: beginning` only.
// The stand-in keeps no checkpoints: the real one takes them from a storage extension.

type jsonFileConfig struct {
	Include      []string      `mapstructure:"include"`
	StartAt      string        `mapstructure:"start_at"`
	PollInterval time.Duration `mapstructure:"poll_interval"`
}

func newJSONFileReceiverFactory() receiver.Factory {
	return xreceiver.NewFactory(
		component.MustNewType("otlp_json_file"),
		func() component.Config {
			return &jsonFileConfig{StartAt: "end", PollInterval: 200 * time.Millisecond}
		},
		xreceiver.WithTraces(func(
			_ context.Context, settings receiver.Settings, config component.Config, next consumer.Traces,
		) (receiver.Traces, error) {
			return newJSONFileReceiver(settings, config, func(ctx context.Context, line []byte) error {
				traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
				if err != nil || traces.ResourceSpans().Len() == 0 {
					return err
				}
				return next.ConsumeTraces(ctx, traces)
			}), nil
		}, component.StabilityLevelAlpha),
		xreceiver.WithLogs(func(
			_ context.Context, settings receiver.Settings, config component.Config, next consumer.Logs,
		) (receiver.Logs, error) {
			return newJSONFileReceiver(settings, config, func(ctx context.Context, line []byte) error {
				logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(line)
				if err != nil || logs.ResourceLogs().Len() == 0 {
					return err
				}
				return next.ConsumeLogs(ctx, logs)
			}), nil
		}, component.StabilityLevelAlpha),
		xreceiver.WithMetrics(func(
			_ context.Context, settings receiver.Settings, config component.Config, next consumer.Metrics,
		) (receiver.Metrics, error) {
			return newJSONFileReceiver(settings, config, func(ctx context.Context, line []byte) error {
				metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(line)
				if err != nil || metrics.ResourceMetrics().Len() == 0 {
					return err
				}
				return next.ConsumeMetrics(ctx, metrics)
			}), nil
		}, component.StabilityLevelAlpha),
		xreceiver.WithDeprecatedTypeAlias(component.MustNewType("otlpjsonfile")),
	)
}

type jsonFileReceiver struct {
	config  *jsonFileConfig
	logger  *zap.Logger
	consume func(context.Context, []byte) error
	// The bytes of each file that have been handed on, by its path.
	offsets map[string]int64
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func newJSONFileReceiver(
	settings receiver.Settings, config component.Config, consume func(context.Context, []byte) error,
) *jsonFileReceiver {
	return &jsonFileReceiver{
		config: config.(*jsonFileConfig), logger: settings.Logger, consume: consume, offsets: map[string]int64{},
	}
}

func (r *jsonFileReceiver) Start(context.Context, component.Host) error {
	if r.config.StartAt != "beginning" {
		for _, path := range r.paths() {
			if info, err := os.Stat(path); err == nil {
				r.offsets[path] = info.Size()
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() {
		for {
			for _, path := range r.paths() {
				r.read(ctx, path)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(r.config.PollInterval):
			}
		}
	})
	return nil
}

func (r *jsonFileReceiver) Shutdown(context.Context) error {
	if r.cancel != nil {
		r.cancel()
	}
	r.done.Wait()
	return nil
}

func (r *jsonFileReceiver) paths() (paths []string) {
	for _, pattern := range r.config.Include {
		found, err := filepath.Glob(pattern)
		if err != nil {
			r.logger.Error("bad pattern", zap.String("pattern", pattern), zap.Error(err))
		}
		paths = append(paths, found...)
	}
	return
}

// read hands on the whole lines that the file has gained. A line that a later component refuses is read again next time.
func (r *jsonFileReceiver) read(ctx context.Context, path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() < r.offsets[path] {
		r.offsets[path] = 0 // truncated
	}
	content, err := io.ReadAll(io.NewSectionReader(file, r.offsets[path], 1<<40))
	if err != nil {
		return
	}
	for {
		line, rest, whole := bytes.Cut(content, []byte("\n"))
		if !whole {
			return
		}
		if err := r.consume(ctx, line); err != nil {
			r.logger.Error("a line was refused", zap.String("path", path), zap.Error(err))
			return
		}
		r.offsets[path] += int64(len(line)) + 1
		content = rest
	}
}
