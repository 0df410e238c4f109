// The emotion in a sound file, from a `speech-emotion serve`. Needs Go 1.19 or newer, and no module.
//
//	go run predict.go clip.wav [http://127.0.0.1:8000] [KEY]
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Prediction is what is read of an answer: docs/serving.md and /openapi.json have the rest.
type Prediction struct {
	Label         *string            `json:"label"` // nil if there is no answer
	Confidence    float64            `json:"confidence"`
	Abstained     string             `json:"abstained"`
	Probabilities map[string]float64 `json:"probabilities"`
}

// Problem is why there is no answer; Code is stable.
type Problem struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

func (p *Problem) Error() string {
	if p.RequestID == "" { // of a job
		return fmt.Sprintf("%s (%s)", p.Detail, p.Code)
	}
	return fmt.Sprintf("%s (%s, request %s)", p.Detail, p.Code, p.RequestID)
}

// Client asks one server.
type Client struct {
	URL, Key string
	HTTP     http.Client
}

// ask sends a request, again after Retry-After where the server is busy. It returns the head and the body of the answer.
func (c *Client) ask(method, path, contentType string, body []byte) (*http.Response, []byte, error) {
	for {
		request, err := http.NewRequest(method, c.URL+path, bytes.NewReader(body))
		if err != nil {
			return nil, nil, err
		}
		if contentType != "" {
			request.Header.Set("Content-Type", contentType)
		}
		if c.Key != "" {
			request.Header.Set("Authorization", "Bearer "+c.Key)
		}
		response, err := c.HTTP.Do(request)
		if err != nil {
			return nil, nil, err
		}
		content, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return nil, nil, err
		}
		if response.StatusCode < 400 {
			return response, content, nil
		}
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		isBusy := response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable
		if !isBusy || err != nil {
			problem := &Problem{Code: strconv.Itoa(response.StatusCode), Detail: "the server refused"}
			_ = json.Unmarshal(content, problem) // a proxy may have answered with something else
			return nil, nil, problem
		}
		time.Sleep(time.Duration(seconds) * time.Second)
	}
}

// Predict returns the answer on one sound; a long one becomes a job, which is waited for.
func (c *Client) Predict(name string, sound []byte) (*Prediction, error) {
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	part, err := writer.CreateFormFile("file", name)
	if err != nil {
		return nil, err
	}
	part.Write(sound) // to memory, which does not fail
	writer.Close()
	response, content, err := c.ask("POST", "/v1/predict", writer.FormDataContentType(), form.Bytes())
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusAccepted {
		return c.wait(response, content)
	}
	return decoded(content)
}

func (c *Client) wait(response *http.Response, content []byte) (*Prediction, error) {
	for {
		var job struct {
			URL, Status string
			Result      json.RawMessage
			Problem     *Problem
		}
		if err := json.Unmarshal(content, &job); err != nil {
			return nil, err
		}
		switch job.Status {
		case "COMPLETED":
			return decoded(job.Result)
		case "FAILED":
			return nil, job.Problem
		}
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil {
			seconds = 1
		}
		time.Sleep(time.Duration(seconds) * time.Second)
		if response, content, err = c.ask("GET", job.URL, "", nil); err != nil {
			return nil, err
		}
	}
}

func decoded(content []byte) (*Prediction, error) {
	var found Prediction
	return &found, json.Unmarshal(content, &found)
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("usage: go run predict.go clip.wav [http://127.0.0.1:8000] [KEY]")
	}
	client := Client{URL: "http://127.0.0.1:8000"}
	if len(arguments) > 1 {
		client.URL = arguments[1]
	}
	if len(arguments) > 2 {
		client.Key = arguments[2]
	}
	sound, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	found, err := client.Predict(filepath.Base(arguments[0]), sound)
	if err != nil {
		return err
	}
	if found.Label == nil {
		fmt.Printf("no answer (%s)\n", found.Abstained)
		return nil
	}
	fmt.Printf("%s %.2f\n", *found.Label, found.Confidence)
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
