// The Python module of the extension. Importing it registers the operators of torch.ops; ARCHITECTURES says what they
// are compiled for.
#include <Python.h>

#define STRING(...) #__VA_ARGS__
#define EXPANDED(...) STRING(__VA_ARGS__)
#define JOINED(a, b) a##b
#define INIT(name) JOINED(PyInit_, name)

PyMODINIT_FUNC INIT(TORCH_EXTENSION_NAME)() {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, EXPANDED(TORCH_EXTENSION_NAME), nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  PyObject* module = PyModule_Create(&definition);
  if (module != nullptr && PyModule_AddStringConstant(module, "ARCHITECTURES", EXPANDED(ARCHITECTURES)) < 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
