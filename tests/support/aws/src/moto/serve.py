# Serves moto on a free loopback port and prints the port; ends when its input does. With the path of a Unix socket as argument:
# does so for each connection, in a copy of a process that has loaded everything, which takes two seconds of processor otherwise.
import os
import random
import select
import signal
import socket
import sys
import threading

from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.test import Client

# Questions that load the services that the agent and the tests ask, and change nothing.
FORMS = {
    "ec2": ("2016-11-15", "DescribeInstances"),
    "autoscaling": ("2011-01-01", "DescribeAutoScalingGroups"),
}
TARGETS = {"ssm": "AmazonSSM.DescribeParameters", "logs": "Logs_20140328.DescribeLogGroups"}


class Handler(MotoRequestHandler):
    # Unbuffered, head and body would leave as two packets, and the second
    # would wait for the delayed acknowledgement of the first: 40 ms a call.
    wbufsize = -1
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def log(self, *arguments):
        pass


def serve(application, lifeline, tell):
    def end_with_parent():
        while lifeline.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    os.environ["MOTO_PORT"] = str(server.server_port)
    tell.write(f"{server.server_port}\n".encode())
    tell.flush()
    server.serve_forever()


def load(application):
    client = Client(application)

    def ask(service, **request):
        scope = f"AWS4-HMAC-SHA256 Credential=load/20260101/eu-central-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        headers = {"authorization": scope, "host": f"{service}.eu-central-1.amazonaws.com", **request.pop("headers", {})}
        answer = client.post("/", headers=headers, **request)
        assert answer.status_code == 200, (service, answer.status_code, answer.text)

    for service, (version, action) in FORMS.items():
        ask(service, data={"Action": action, "Version": version})
    for service, target in TARGETS.items():
        ask(service, data="{}", headers={"x-amz-target": target, "content-type": "application/x-amz-json-1.1"})


def serve_copies(application, path):
    load(application)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        # No second thread: what is copied has only one.
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            random.seed()
            mock_random.seed()
            serve(application, connection.makefile("rb"), connection.makefile("wb"))
        connection.close()


application = DomainDispatcherApplication(create_backend_app)
if len(sys.argv) > 1:
    serve_copies(application, sys.argv[1])
else:
    serve(application, sys.stdin.buffer, sys.stdout.buffer)
