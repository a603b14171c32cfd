import { defineConfig } from "vite";

export default defineConfig({
  base: "/page/",
  build: {
    outDir: "../app/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
    rolldownOptions: {
      output: {
        entryFileNames: "page.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
        codeSplitting: { groups: [{ name: "three", test: /node_modules[\\/]three/ }] },
      },
    },
  },
});
