import socket

from benchmarks.slow_clients import SlowClient


def test_slow_client_drips_and_comes_back_when_it_is_dropped():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = SlowClient(listener.getsockname(), b"GET")
        first, _ = listener.accept()
        assert first.recv(10) == b"GET"
        client.drip()
        assert first.recv(10) == b"a"
        first.close()
        listener.settimeout(0.01)
        while True:
            client.drip()
            try:
                second, _ = listener.accept()
                break
            except TimeoutError:
                continue
        assert second.recv(3) == b"GET"
        second.close()
        client.close()
